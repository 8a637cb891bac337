"""Bins, counts and strength against brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from deeptracker.data_model.correlation import (
    FEWEST_BINS,
    Occurrences,
    behind,
    bin_edges,
    face,
    member_face,
    strength,
)
from deeptracker.data_model.significance import benjamini_hochberg


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


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 5)), max_size=40),
    st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True),
)
def test_the_face_of_a_row_shows_its_members(rows: list[tuple[int, int, int]], validations: list[int]) -> None:
    edges = bin_edges(np.array(sorted(validations)))
    members, counted = member_face(found_at(*rows), edges, 1)
    seen = [
        (m, bin_) for t, r, m in rows for bin_ in range(len(edges) - 1) if r == 1 and edges[bin_] <= t < edges[bin_ + 1]
    ]
    assert members.tolist() == sorted({m for m, _ in seen})
    assert {(members[i], j) for i, j in np.argwhere(counted)} == set(seen)
    assert counted.max(initial=0) <= 1


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


def named(layer_face: np.ndarray, class_face: np.ndarray) -> object:
    layers = [f"layer{number}" for number in range(len(layer_face))]
    return strength(layer_face, class_face, layers, [str(number) for number in range(len(class_face))])


def test_without_a_common_course_expected_is_the_mean_over_all_shifts() -> None:
    """A row alone has no course in common with others but its slow average, which is level here."""
    layer_face, class_face = np.zeros((1, 100), int), np.zeros((1, 100), int)
    layer_face[0, ::2], class_face[0, ::4] = 3, 2
    found = named(layer_face, class_face)
    shifted = [(layer_face[0] * np.roll(class_face[0], shift)).sum() for shift in range(100)]
    assert found["observed"].item() == shifted[0]
    assert found["expected"].item() == pytest.approx(np.mean(shifted), rel=0.1)
    assert found["lift"].item() == pytest.approx(2, rel=0.1)


def test_a_pair_that_cannot_coincide_is_no_pair_tested() -> None:
    layer_face, class_face = np.zeros((2, 56), int), np.zeros((2, 56), int)
    layer_face[0, ::7], class_face[0, ::7] = 3, 2
    found = named(layer_face, class_face)
    assert found["p_value"].values[1].tolist() == [1, 1]
    assert 0 < found["p_value"].values[0, 0] < 1
    assert found["q_value"].values[0, 0] == pytest.approx(found["p_value"].values[0, 0])
    assert np.isnan(found["lift"].values[1, 1])


def test_too_few_bins_are_not_judged() -> None:
    few = FEWEST_BINS - 1
    found = named(np.ones((2, few), int), np.ones((3, few), int))
    assert np.isnan(found["p_value"].values).all()
    assert found["observed"].values.tolist() == [[few] * 3] * 2
    assert named(np.ones((2, 0), int), np.ones((3, 0), int))["observed"].shape == (2, 3)
