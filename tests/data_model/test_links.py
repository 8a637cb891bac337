"""Links between layers and classes: planted ones found, p-values true where there are none. All data is synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from deeptracker.data_model.circular_shift import MOST_SHIFTED, NEAR, shift_test
from deeptracker.data_model.common_part import take_apart
from deeptracker.data_model.correlation import strength
from deeptracker.data_model.significance import pareto_tail, skewed_tail

LEVELS = (0.5, 0.1, 0.05, 0.01, 0.001)
TOO_OFTEN = (1.1, 1.15, 1.2, 1.3, 1.3)
"""How many times as often as a p-value says it may come, on series without links; with 57,600 pairs."""


def bursty(random: np.random.Generator, rows: int, length: int, rate: float, memory: float = 0.9) -> np.ndarray:
    """Counts whose rates wander slowly, each row by itself."""
    noise = random.normal(size=(rows, length))
    level = np.zeros((rows, length))
    level[:, 0] = noise[:, 0]
    for step in range(1, length):
        level[:, step] = memory * level[:, step - 1] + np.sqrt(1 - memory**2) * noise[:, step]
    return np.exp(level - 0.5) * rate


def history(
    seed: int,
    rows: int,
    length: int,
    rate: float,
    *,
    decline: bool = False,
    shocks: int = 0,
    memory: float = 0.9,
    own: bool = False,
) -> np.ndarray:
    """Counts of bursty rows; with `decline` all fall from 4.5 to 0.2 times their mean, with `own` each by a rate of its
    own, at `shocks` all jump at once.
    """
    random, common = np.random.default_rng(seed), np.random.default_rng(99)
    rates = bursty(random, rows, length, rate, memory)
    if decline:
        course = np.exp(np.linspace(1.5, -1.5, length))
        rates *= course / course.mean()
    if own:
        rates *= np.exp(np.linspace(1, -1, length) * random.normal(1, 0.5, (rows, 1)))
    counts = random.poisson(rates)
    for when in common.choice(length, shocks, replace=False):
        counts[:, when] += random.poisson(3 * rate + 0.5, rows)
    return counts


def p_values(layer_face: np.ndarray, class_face: np.ndarray) -> np.ndarray:
    found = strength(layer_face, class_face, range(len(layer_face)), range(len(class_face)))
    return np.asarray(found["p_value"].values)


@pytest.mark.parametrize(
    "how",
    [
        {"rate": 0.05},
        {"rate": 2.0},
        {"rate": 2.0, "memory": 0.97},
        {"rate": 2.0, "memory": 0.99},
        {"rate": 0.05, "decline": True},
        {"rate": 0.5, "decline": True},
        {"rate": 2.0, "own": True},
        {"rate": 0.5, "shocks": 6},
        {"rate": 2.0, "decline": True, "shocks": 6},
    ],
    ids=lambda how: ", ".join(f"{name} {value}" for name, value in how.items()),
)
def test_without_links_p_values_say_the_truth(how: dict[str, float]) -> None:
    """Against all shifts, far ones too, and with a gamma distribution above 0.02, as it was done before, series that
    each decline by a rate of their own came below 0.05 and below 0.01 one and a half times as often as that.
    """
    p_value = np.array(
        [
            p_values(*(history(seed, 120, 1500, **how) for seed in (pair, pair + 1)))  # type: ignore[arg-type]
            for pair in (1, 3, 5, 7)
        ]
    ).ravel()
    for level, most in zip(LEVELS, TOO_OFTEN, strict=True):
        share = (p_value <= level).mean()
        assert share <= most * level, f"{share:.5f} of p-values are below {level}"
        assert level < 0.01 or share >= 0.7 * level, f"only {share:.5f} of p-values are below {level}"
    assert (p_value <= 1e-5).sum() <= 3, "one of 57,600 in two is expected"


@pytest.mark.parametrize(("decline", "shocks"), [(False, 0), (True, 6)])
def test_planted_links_are_found_and_nothing_else(decline: bool, shocks: int) -> None:
    """12 of 80 x 120 pairs share 25 bins of 1,500 with 3 filters and 3 images more, on means of 0.2."""
    links = {(layer, layer + 7) for layer in range(12)}
    called, found = 0, 0
    for seed in range(3):
        random = np.random.default_rng(seed)
        layer_face = history(2 * seed, 80, 1500, 0.2, decline=decline, shocks=shocks)
        class_face = history(2 * seed + 1, 120, 1500, 0.2, decline=decline, shocks=shocks)
        for layer, class_ in links:
            when = random.choice(1500, 25, replace=False)
            layer_face[layer, when] += 3
            class_face[class_, when] += 3
        q_value = strength(layer_face, class_face, range(80), range(120))["q_value"].values
        significant = {(int(i), int(j)) for i, j in np.argwhere(q_value < 0.05)}
        called, found = called + len(significant), found + len(significant & links)
    recall, precision = found / (3 * len(links)), found / called
    assert recall >= 0.9, f"recall {recall:.2f}"
    assert precision >= 0.9, f"precision {precision:.2f}"


def test_excess_is_that_of_all_shifts_and_p_values_are_those_of_near_ones() -> None:
    random = np.random.default_rng(5)
    x, y = (take_apart(random.poisson(0.4, (rows, 240))).own for rows in (6, 5))
    y[2] = np.roll(x[1], 0) + 0.3 * y[2]
    y -= y.mean(axis=1, keepdims=True)
    found, far = shift_test(x, y), 240 // NEAR
    for i, j in np.ndindex(6, 5):
        shifted = np.array([(x[i] * np.roll(y[j], shift)).sum(dtype=np.float64) for shift in range(-far, far + 1)])
        every = np.array([(x[i] * np.roll(y[j], shift)).sum(dtype=np.float64) for shift in range(240)])
        assert found.excess[i, j] == pytest.approx(every[0] / every.std(), rel=1e-3, abs=1e-3)
        share = (shifted >= every[0] - 1e-4 * every.std()).mean()
        if share > 1 / len(shifted):
            assert found.p_value[i, j] == pytest.approx(share)
        else:
            assert 1 / len(shifted) ** 2 <= found.p_value[i, j] <= 1 / len(shifted)
    assert found.p_value[1, 2] < 1 / 240, "no shift reaches it, the tail says how far beyond it lies"


def test_where_too_much_stands_out_the_rest_is_judged_with_care() -> None:
    random = np.random.default_rng(6)
    same = random.normal(size=64).astype(np.float32)
    rows = same + 0.1 * random.normal(size=(120, 64)).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    p_value = shift_test(rows, rows).p_value
    near = 2 * (64 // NEAR) + 1
    assert p_value.size > MOST_SHIFTED
    assert p_value.max() <= 1 / near + 1e-12
    assert (p_value < 1 / near - 1e-12).sum() <= MOST_SHIFTED


def test_a_constant_series_goes_with_nothing() -> None:
    x = np.zeros((1, 40), np.float32)
    found = shift_test(x, np.ones((2, 40), np.float32))
    assert np.isnan(found.p_value).all()
    assert (found.excess == 0).all()


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        shift_test(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


def test_what_all_rows_share_is_taken_away_and_what_one_does_is_not() -> None:
    random = np.random.default_rng(7)
    counts = random.poisson(1.0, (60, 400))
    counts[:, 100] += 8
    counts[3, 200] += 8
    parts = take_apart(counts)
    assert parts.course[100] > 6
    assert parts.course[200] < 1.5
    assert np.abs(parts.own[:, 100]).max() < 4
    assert parts.own[3, 200] > 3
    np.testing.assert_allclose(parts.own.mean(axis=1), 0, atol=1e-4)
    alone = take_apart(counts[3:4])
    assert alone.own[0, 200] > 3


def test_the_skewed_tail_is_scipys() -> None:
    excess, skewness = np.array([-2.0, 0, 1.5, 6]), np.array([1.0, 0.3, 2.0, 0.5])
    np.testing.assert_allclose(skewed_tail(excess, skewness), stats.pearson3.sf(excess, skewness), rtol=1e-9)


@pytest.mark.parametrize("draw", ["exponential", "normal"])
def test_a_pareto_tail_reaches_beyond_the_values(draw: str) -> None:
    """Of 40 samples of 2,000, at the true 1e-5: near it for an exponential tail, never far below for a lighter one."""
    random = np.random.default_rng(8)
    values = getattr(random, draw)(size=(40, 2000))
    true = np.full(40, stats.expon.isf(1e-5) if draw == "exponential" else stats.norm.isf(1e-5))
    found = np.median(pareto_tail(values, true))
    assert 0.5e-5 < found < (3e-5 if draw == "exponential" else 2e-4)
