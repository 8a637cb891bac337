"""Bins, counts and strength against brute force; planted links found, and none where there are none."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from deeptracker.data_model.circular_shift import coincidences
from deeptracker.data_model.correlation import FEWEST_BINS, Occurrences, behind, bin_edges, face, strength
from deeptracker.data_model.significance import benjamini_hochberg, gamma_tail

counts = st.integers(1, 9).flatmap(
    lambda length: st.tuples(
        arrays(np.int32, (2, length), elements=st.integers(0, 9)),
        arrays(np.int32, (3, length), elements=st.integers(0, 9)),
    )
)


@given(counts)
def test_the_closed_form_is_the_mean_and_variance_over_all_shifts(
    series: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = series
    found = coincidences(x, y)
    for i, j in np.ndindex(2, 3):
        shifted = [(x[i] * np.roll(y[j], shift)).sum() for shift in range(x.shape[1])]
        assert found.observed[i, j] == shifted[0]
        assert found.expected[i, j] == pytest.approx(np.mean(shifted), abs=1e-9)
        assert found.variance[i, j] == pytest.approx(np.var(shifted), rel=1e-9, abs=1e-6)


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        coincidences(np.zeros((2, 3)), np.zeros((2, 4)))


@given(st.floats(0, 50), st.floats(0.01, 50), st.floats(0.01, 500))
def test_the_gamma_tail_is_scipys(observed: float, expected: float, variance: float) -> None:
    arguments = [np.array([value]) for value in (observed, expected, variance)]
    reference = stats.gamma.sf(max(observed - 0.5, 0), expected**2 / variance, scale=variance / expected)
    assert gamma_tail(*arguments)[0] == pytest.approx(reference, rel=1e-9, abs=1e-300)


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)))
def test_benjamini_hochberg_is_scipys(p_values: np.ndarray) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p_values), stats.false_discovery_control(p_values), atol=1e-12)


def found_at(*rows: tuple[int, int, int]) -> Occurrences:
    iteration, row, member = np.array(rows, np.int64).reshape(-1, 3).T
    return Occurrences(iteration, row, member)


def test_bins_end_right_after_their_validation() -> None:
    edges = bin_edges(np.array([9, 19, 29, 39]))
    assert edges.tolist() == [10, 20, 30, 40]
    assert bin_edges(np.array([9, 19, 29, 39]), iterations=(15, 25)).tolist() == [10, 20, 30]
    assert bin_edges(np.array([9, 19, 29, 39]), iterations=(20, 30)).tolist() == [20, 30]
    flips = found_at((19, 0, 0), (20, 0, 1), (29, 0, 2), (9, 0, 3), (40, 0, 4))
    assert face(flips, edges, 1).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("validations", [[], [5]])
def test_no_bins_before_the_second_validation(validations: list[int]) -> None:
    edges = bin_edges(np.array(validations, np.int64))
    assert len(edges) == 0
    assert face(found_at((3, 0, 0)), edges, 2).shape == (2, 0)


@given(st.integers(2, 200), st.integers(1, 40), st.integers(0, 199), st.integers(1, 200))
def test_merged_bins_cover_the_window_and_stay_where_they_are(total: int, limit: int, start: int, length: int) -> None:
    validations = np.arange(total) * 10
    window = (start * 10 + 1, (start + length) * 10 + 1)
    fine, merged = bin_edges(validations, window), bin_edges(validations, window, limit)
    assert set(merged) <= set(bin_edges(validations))
    if len(fine) == 0:
        assert len(merged) == 0
        return
    assert merged[0] <= fine[0]
    assert merged[-1] >= fine[-1]
    assert len(merged) - 1 <= limit + 1
    everywhere = bin_edges(validations)
    size = np.diff(np.searchsorted(everywhere, merged)).max()
    inner = np.searchsorted(everywhere, merged[1:-1])
    assert (inner % size == 0).all()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 5)), max_size=40),
    st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True),
)
def test_a_face_counts_distinct_members(rows: list[tuple[int, int, int]], validations: list[int]) -> None:
    edges = bin_edges(np.array(sorted(validations)))
    counted = face(found_at(*rows), edges, 3)
    for row, bin_ in np.ndindex(counted.shape):
        inside = {m for t, r, m in rows if r == row and edges[bin_] <= t < edges[bin_ + 1]}
        assert counted[row, bin_] == len(inside)


def test_occurrences_come_from_the_table_by_name() -> None:
    table = pd.DataFrame(
        {
            "rule": ["left", "right", "left", "left"],
            "entity": ["b", "b", "a", "unknown"],
            "start": [5, 6, 7, 8],
        }
    )
    found = Occurrences.of(table, {"left"}, {"a": 0, "b": 1}, np.array([3, 4]))
    assert found.iteration.tolist() == [5, 7]
    assert (found.row.tolist(), found.member.tolist()) == ([4, 3], [1, 0])


def test_behind_a_cell_are_the_members_that_shared_bins() -> None:
    edges = np.array([0, 10, 20, 30])
    layers = found_at((1, 2, 7), (11, 2, 7), (12, 2, 8), (21, 2, 9), (13, 1, 5))
    classes = found_at((2, 4, 70), (15, 4, 70), (16, 4, 71), (17, 3, 99))
    filters, images = behind(layers, classes, edges, layer=2, class_index=4)
    assert filters == [(7, 2), (8, 1)]
    assert images == [(70, 2), (71, 1)]


def bursty(random: np.random.Generator, rows: int, length: int, rate: float, memory: float) -> np.ndarray:
    """Synthetic counts whose rate wanders slowly, each row by itself."""
    noise = random.normal(size=(rows, length))
    level = np.zeros((rows, length))
    level[:, 0] = noise[:, 0]
    for step in range(1, length):
        level[:, step] = memory * level[:, step - 1] + np.sqrt(1 - memory**2) * noise[:, step]
    return random.poisson(rate * np.exp(level - 0.5))


def named(layer_face: np.ndarray, class_face: np.ndarray) -> object:
    layers = [f"layer{number}" for number in range(len(layer_face))]
    return strength(layer_face, class_face, layers, [str(number) for number in range(len(class_face))])


def test_planted_links_are_found_and_little_else() -> None:
    """Synthetic: 6 of 30 x 40 pairs share 25 shocks of +4 filters and +4 images among 1500 bins."""
    random = np.random.default_rng(3)
    layer_face, class_face = bursty(random, 30, 1500, 0.3, 0.9), bursty(random, 40, 1500, 0.3, 0.9)
    links = [(layer, layer + 3) for layer in (1, 5, 9, 14, 20, 28)]
    for layer, class_index in links:
        shocks = random.choice(1500, 25, replace=False)
        layer_face[layer, shocks] += 4
        class_face[class_index, shocks] += 4
    found = named(layer_face, class_face)
    called = {(int(i), int(j)) for i, j in np.argwhere(found["q_value"].values < 0.05)}
    assert called >= set(links)
    assert len(called - set(links)) <= 1
    assert all(found["lift"].values[link] > 2 for link in links)


@pytest.mark.parametrize(("rate", "memory"), [(0.3, 0.0), (0.5, 0.9), (2.0, 0.9)])
def test_without_links_p_values_are_about_uniform(rate: float, memory: float) -> None:
    """Synthetic. Tolerance: the share of p below 0.5, 0.1, 0.01 is at most 1.3, 1.5, 2 times that, and not
    under half.

    Below the body the gamma tail is what is tested; the half count taken off makes sparse pairs conservative.
    """
    random = np.random.default_rng(8)
    layer_face, class_face = bursty(random, 60, 1200, rate, memory), bursty(random, 60, 1200, rate, memory)
    p_values = named(layer_face, class_face)["p_value"].values.ravel()
    for level, tolerance in ((0.5, 1.3), (0.1, 1.5), (0.01, 2.0)):
        share = (p_values <= level).mean()
        assert 0.5 * level <= share <= tolerance * level, f"{share:.4f} of p-values are below {level}"


def test_a_pair_that_cannot_coincide_is_no_pair_tested() -> None:
    layer_face, class_face = np.zeros((2, 50), int), np.zeros((2, 50), int)
    layer_face[0, ::7], class_face[0, ::7] = 3, 2
    found = named(layer_face, class_face)
    assert found["p_value"].values[1].tolist() == [1, 1]
    assert found["q_value"].values[0, 0] == pytest.approx(found["p_value"].values[0, 0])
    assert np.isnan(found["lift"].values[1, 1])


def test_too_few_bins_are_not_judged() -> None:
    few = FEWEST_BINS - 1
    found = named(np.ones((2, few), int), np.ones((3, few), int))
    assert np.isnan(found["p_value"].values).all()
    assert found["observed"].values.tolist() == [[few] * 3] * 2
    assert named(np.ones((2, 0), int), np.ones((3, 0), int))["observed"].shape == (2, 3)


def test_thousand_classes_and_161_layers_take_about_a_second() -> None:
    random = np.random.default_rng(1)
    layer_face = random.poisson(0.2, (161, 5000))
    class_face = random.poisson(0.2, (1000, 5000))
    started = time.perf_counter()
    named(layer_face, class_face)
    assert time.perf_counter() - started < 10, "an order of magnitude above what it takes on one core"
