"""The fused kernel and the quartiles against their slow, readable twin, on random input of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.data_model.missing import is_missing
from deeptracker.tracker.kernel import STRETCH, Places, measure
from deeptracker.tracker.quartiles import SAMPLE, Sampler
from deeptracker.tracker.statistics import FILTER_ENTRIES, FILTER_STATISTICS, LAYER_ENTRIES, LAYER_STATISTICS, derive
from deeptracker.tracker.totals import FILTER_COLUMNS, GRADIENT_QUARTILES, INTERVAL, LAYER_COLUMNS, WEIGHT_QUARTILES
from tests.tracker import oracle

QUARTILES = ("q1", "median", "q3")


def run(weights, gradients, before, keep=False, sampler=None):
    """Return (layer table, filter table) of layers given as (filters, values) float32 arrays."""
    rows, lengths = np.array([weight.shape for weight in weights]).T
    filters = np.empty((rows.sum(), FILTER_COLUMNS))
    layers = np.full((len(weights), LAYER_COLUMNS), np.nan)
    layers[:, INTERVAL] = 1
    places = Places(rows * lengths, lengths, [one.ctypes.data for one in before], sampler or Sampler(rows * lengths))
    places.set_weights([one.ctypes.data for one in weights])
    places.set_gradients([0 if one is None else one.ctypes.data for one in gradients])
    measure(places.table, layers, filters, keep, True)
    return layers, filters


def assert_agrees(values, statistics, weight, gradient, before, skip=()):
    expected = oracle.layer(weight, gradient, before)
    for value, statistic in zip(values, statistics, strict=True):
        if statistic.name in expected and statistic.name not in skip:
            wanted = np.float32(min(expected[statistic.name], 3.5e38))
            # Near-cancelling means lose digits against the size of what is summed, not against themselves.
            size = np.nanmax(np.abs(weight[np.isfinite(weight)]), initial=0) if "weight_mean" in statistic.name else 0
            size = size or (
                np.nanmax(np.abs(gradient[np.isfinite(gradient)]), initial=0)
                if statistic.name == "gradient_mean"
                else 0
            )
            np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-6 * size + 1e-37, err_msg=statistic.name)


special = st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-30, 3e38, -3e38, 1e20, 1e-42])


@st.composite
def layers(draw):
    filters, length = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.integers(-25, 25))
    offset = draw(st.sampled_from([0, 0, 1, 1000]))
    made = []
    for _ in range(3):
        values = (scale * (random.normal(size=(filters, length)) + offset)).astype(np.float32)
        for _ in range(draw(st.integers(0, 4))):
            place = random.integers(filters), random.integers(length)
            values[place] = draw(special)
        made.append(values)
    weight, gradient, before = made
    if draw(st.booleans()):
        before = (weight * (1 + 10.0 ** -draw(st.integers(0, 7)) * random.normal(size=weight.shape))).astype(np.float32)
    return weight, gradient if draw(st.booleans()) else None, before


@settings(max_examples=300, deadline=None)
@given(st.lists(layers(), min_size=1, max_size=3))
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_kernel_agrees_with_its_twin(network):
    weights, gradients, before = (list(part) for part in zip(*network, strict=True))
    tables = run(weights, gradients, before)
    of_layers, of_filters = derive(LAYER_ENTRIES, tables[0]), derive(FILTER_ENTRIES, tables[1])
    first = 0
    for number, (weight, gradient, old) in enumerate(network):
        # A threshold met exactly may fall on either side in float32: leave such shares out.
        ties = _ties(weight, old)
        assert_agrees(of_layers[:, number], LAYER_STATISTICS, weight, gradient, old, ties)
        for row in range(len(weight)):
            of_row = None if gradient is None else gradient[row]
            assert_agrees(of_filters[:, first + row], FILTER_STATISTICS, weight[row], of_row, old[row], ties)
        first += len(weight)


def _ties(weight, before):
    """Names of shares whose threshold lies within rounding of some weight's relative change."""
    with np.errstate(all="ignore"):
        ratio = np.abs(weight.astype(float) - before) / np.abs(before.astype(float))
    return {
        f"change_above_{name}"
        for name, threshold in oracle.THRESHOLDS.items()
        if np.any(np.abs(ratio / threshold - 1) < 1e-5)
    } | ({f"change_above_{name}" for name in oracle.THRESHOLDS} if np.any(np.abs(before) < 1e-30) else set())


def test_missing_gradient_is_missing_and_measured_nan_is_not():
    weight = np.full((1, 4), np.nan, np.float32)
    table, _ = run([weight], [None], [weight.copy()])
    values = dict(zip([one.name for one in LAYER_STATISTICS], derive(LAYER_ENTRIES, table)[:, 0], strict=True))
    assert is_missing(np.array([values["gradient_mean"], values["gradient_nonfinite"]])).all()
    assert np.isnan(values["weight_mean"])
    assert not is_missing(np.array([values["weight_mean"], values["weight_q1"], values["weight_l2"]])).any()
    assert values["weight_nonfinite"] == 4


def test_variance_keeps_its_digits_when_the_mean_is_far_larger():
    random = np.random.default_rng(0)
    weight = (1000 + 0.001 * random.normal(size=(1, 3 * STRETCH + 7))).astype(np.float32)
    table, _ = run([weight], [None], [weight.copy()])
    values = dict(zip([one.name for one in LAYER_STATISTICS], derive(LAYER_ENTRIES, table)[:, 0], strict=True))
    np.testing.assert_allclose(values["weight_std"], weight.astype(np.float64).std(), rtol=1e-4)
    np.testing.assert_allclose(values["weight_mean"], weight.astype(np.float64).mean(), rtol=1e-7)


def test_a_change_too_small_for_float32_squares_is_not_lost():
    before = np.array([[1.0, 1e-25, 1e-25]], np.float32)
    weight = np.array([[1.0, 2e-25, 1e-25]], np.float32)
    table, _ = run([weight], [None], [before])
    assert_agrees(derive(LAYER_ENTRIES, table)[:, 0], LAYER_STATISTICS, weight, None, before)
    values = dict(zip([one.name for one in LAYER_STATISTICS], derive(LAYER_ENTRIES, table)[:, 0], strict=True))
    np.testing.assert_allclose(values["relative_change_l2"], 1e-25, rtol=1e-5)


def test_a_large_layer_of_several_stretches_agrees_up_to_the_sampled_quartiles():
    random = np.random.default_rng(1)
    weight, gradient, before = (random.normal(size=(3, 2 * STRETCH + 5)).astype(np.float32) for _ in range(3))
    gradient[1, 5000] = np.inf
    table, _ = run([weight], [gradient], [before])
    sampled = {f"{group}_{name}" for group in ("weight", "gradient") for name in QUARTILES}
    values = derive(LAYER_ENTRIES, table)[:, 0]
    assert_agrees(values, LAYER_STATISTICS, weight, gradient, before, sampled)
    found = dict(zip([one.name for one in LAYER_STATISTICS], values, strict=True))
    for name, share in zip(QUARTILES, (0.25, 0.5, 0.75), strict=True):
        rank = (weight <= found[f"weight_{name}"]).mean()
        assert abs(rank - share) < 4 * np.sqrt(share * (1 - share) / SAMPLE)


def test_keeping_copies_the_weights_in_the_same_pass():
    random = np.random.default_rng(2)
    weight, before = (random.normal(size=(4, 2000)).astype(np.float32) for _ in range(2))
    expected = oracle.change(weight, before)["relative_change_l2"]
    table, _ = run([weight], [None], [before], keep=True)
    names = [one.name for one in LAYER_STATISTICS]
    np.testing.assert_allclose(derive(LAYER_ENTRIES, table)[names.index("relative_change_l2"), 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(before, weight)
    table, _ = run([weight], [None], [before])
    assert derive(LAYER_ENTRIES, table)[names.index("relative_change_l2"), 0] == 0


def test_quartiles_are_sampled_at_the_same_places_every_time():
    values = np.random.default_rng(3).normal(size=(1, 100_000)).astype(np.float32)
    sampler = Sampler(np.array([values.size]))
    first, second = (run([values], [values], [values], sampler=sampler)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    quartiles = first[0, WEIGHT_QUARTILES : WEIGHT_QUARTILES + 3]
    np.testing.assert_array_equal(quartiles, first[0, GRADIENT_QUARTILES : GRADIENT_QUARTILES + 3])
    np.testing.assert_allclose(quartiles, np.quantile(values[0, sampler.indices], (0.25, 0.5, 0.75)), rtol=1e-6)


@st.composite
def samples(draw):
    """A tensor of one row with ties, gaps, both signs, extremes, NaN and Inf, and others that came before it."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, SAMPLE))
    kinds = (
        lambda: random.normal(size=size) * 10.0 ** draw(st.integers(-30, 30)),
        lambda: random.integers(-2, 3, size),
        lambda: np.sign(random.normal(size=size)) * 10.0 ** random.uniform(-40, 38, size),
        lambda: np.where(random.random(size) < 0.9, 1.0, random.normal(size=size)),
        lambda: np.nextafter(np.float32(1), np.float32(2)) * np.ones(size),
    )
    made = []
    for _ in range(3):
        values = draw(st.sampled_from(kinds))().astype(np.float32)
        values[random.random(size) < draw(st.sampled_from([0.0, 0.0, 0.1, 1.0]))] = draw(special)
        made.append(values[None])
    return made


@settings(max_examples=300, deadline=None)
@given(samples())
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:divide by zero")
def test_quartiles_are_exact_whatever_was_measured_before(tensors):
    sampler = Sampler(np.array([tensors[0].size]))
    for values in tensors:
        found = run([values], [None], [values], sampler=sampler)[0][0, WEIGHT_QUARTILES : WEIGHT_QUARTILES + 3]
        finite = values[np.isfinite(values)].astype(np.float64)
        expected = np.quantile(finite, (0.25, 0.5, 0.75)) if finite.size else np.full(3, np.nan)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def test_statistics_have_the_agreed_names_and_describe_themselves():
    spread = ("min", "q1", "median", "q3", "max", "mean", "std", "l1", "l2", "nonzero", "nonfinite")
    agreed = [f"{group}_{name}" for group in ("weight", "gradient") for name in spread]
    agreed += ["relative_change_l1", "relative_change_l2"]
    agreed += [f"change_above_{name}" for name in oracle.THRESHOLDS] + ["interval"]
    assert [one.name for one in LAYER_STATISTICS] == agreed
    assert [one.name for one in FILTER_STATISTICS] == [
        "relative_change_l1",
        "relative_change_l2",
        "weight_std",
        "gradient_l1",
        "gradient_l2",
    ]
    assert all(one.meaning and one.group for one in LAYER_STATISTICS)
