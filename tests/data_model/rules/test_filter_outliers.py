"""Filter outliers against a plain loop, on planted phenomena (synthetic), and in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeptracker.data_model.robust import centre_and_spread, median
from deeptracker.data_model.rules import filter_outliers
from deeptracker.data_model.rules.filter_outliers import FilterOutliers, Thresholds, outliers

LIMITS = Thresholds(mates=4, own_past=4, floor=0.1, past_records=10, fewest_records=4, fewest_mates=4)


def slow_outliers(values: np.ndarray, layer: np.ndarray, limits: Thresholds) -> set[tuple[int, int]]:
    """One record and one filter at a time, with the definitions written out."""
    change = np.where(np.isfinite(values), np.log(np.maximum(values, 1e-12)), np.nan)
    residual = np.full_like(change, np.nan)
    for record, number in np.ndindex(change.shape):
        mates = change[record, layer == layer[number]]
        if len(mates) >= limits.fewest_mates and np.isfinite(mates).any():
            residual[record, number] = change[record, number] - np.nanmedian(mates)
    found = set()
    for record, number in np.ndindex(change.shape):
        now, past = residual[record, number], residual[max(record - limits.past_records, 0) : record, number]
        past = past[np.isfinite(past)]
        if not np.isfinite(now) or len(past) < limits.fewest_records:
            continue
        mates = residual[record, layer == layer[number]]
        width = max(1.4826 * np.nanmedian(np.abs(mates)), limits.floor)
        own_width = max(1.4826 * np.median(np.abs(past - np.median(past))), limits.floor)
        new = max(now - past.max(), past.min() - now) >= limits.own_past * limits.floor
        if abs(now) / width > limits.mates and new and abs(now - np.median(past)) / own_width > limits.own_past:
            found.add((record, number))
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_the_search_agrees_with_a_plain_loop(seed: int, holes: bool) -> None:
    random = np.random.default_rng(seed)
    values = np.exp(random.normal(-6, 0.4, (30, 13)))
    values[random.integers(0, 30, 6), random.integers(0, 13, 6)] *= 60
    values[random.integers(0, 30, 3), random.integers(0, 13, 3)] = 0
    if holes:
        values[random.integers(0, 30, 9), random.integers(0, 13, 9)] = np.nan
        values[7, 1], values[9] = np.inf, np.nan
    layer = np.repeat([0, 1, 2], [5, 6, 2])
    found = outliers(values, layer, LIMITS)
    listed = list(zip(found.record.tolist(), found.filter.tolist(), strict=True))
    assert len(set(listed)) == len(listed)
    assert set(listed) == slow_outliers(values, layer, LIMITS)


@given(arrays(np.float64, (4, 7), elements=st.one_of(st.floats(-9, 9), st.just(np.nan))))
def test_the_median_is_numpys(values: np.ndarray) -> None:
    known = ~np.isnan(values).all(axis=1)
    np.testing.assert_allclose(median(values)[known], np.nanmedian(values[known], axis=1))
    assert np.isnan(median(values)[~known]).all()
    centre, width = centre_and_spread(values[known])
    expected = np.nanmedian(np.abs(values[known] - centre[:, None]), axis=1)
    np.testing.assert_allclose(width, 1.4826 * expected, atol=1e-12)


STRICT = FilterOutliers(mates_z=6, own_z=6)
"""What is planted stands out by far; at the default of 3.5 a few of 12,800 calm values do too."""


@pytest.fixture
def calm(fake_run: Callable[..., Any]) -> Any:
    """Synthetic: 2 layers of 16 filters, 400 records, each filter with a level and a noise of its own."""
    random = np.random.default_rng(0)
    level = random.normal(-7, 0.2, 32)
    change = np.exp(level + random.normal(0, 0.15, (400, 32))).astype(np.float32)
    return fake_run(
        iteration=np.arange(400) * 16,
        filter_values={"relative_change_l2": change},
        filter_layer=np.repeat([0, 1], 16).astype(np.int32),
    )


def test_a_calm_run_has_no_outlier(calm: Any) -> None:
    assert STRICT.find(calm) == []
    assert len(FilterOutliers().find(calm)) <= 12_800 * 1e-3


def test_a_jump_and_a_freeze_of_one_filter_are_found_once_each(calm: Any) -> None:
    change = calm.filter_values["relative_change_l2"]
    change[200, 20] *= 30
    change[300:, 5] = 0
    jump, freeze = STRICT.find(calm)
    assert (jump.entity, jump.index, jump.start, jump.stop) == ("layer1[4]", 20, 3200, 3216)
    assert "filter 4 of layer1 changed" in jump.message
    assert "times as much as the middle filter of its layer" in jump.message
    assert (freeze.entity, freeze.start) == ("layer0[5]", 4800)
    assert freeze.message == "filter 5 of layer0 all but stopped changing, unlike its layer mates"
    assert jump.score > 6
    assert freeze.score > 6


def test_what_moves_a_whole_layer_is_no_outlier(calm: Any) -> None:
    """A learning-rate drop, also with a filter that always differs, and a spike over all filters."""
    change = calm.filter_values["relative_change_l2"]
    change[:, 7] *= 20
    change[150:] /= 10
    change[250] *= 100
    assert STRICT.find(calm) == []


def test_a_flickering_filter_is_reported_when_it_begins(calm: Any) -> None:
    change = calm.filter_values["relative_change_l2"]
    change[100:160:3, 11] = 0
    assert [found.start for found in STRICT.find(calm)] == [1600]


def test_the_size_of_the_chunks_changes_nothing(calm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    calm.filter_values["relative_change_l2"][random.integers(0, 400, 40), random.integers(0, 32, 40)] *= 40
    whole = STRICT.find(calm)
    monkeypatch.setattr(filter_outliers, "CHUNK_VALUES", 1)
    assert STRICT.find(calm) == whole
    assert len(whole) > 20


def test_a_growing_run_keeps_what_was_found(calm: Any) -> None:
    random = np.random.default_rng(4)
    calm.filter_values["relative_change_l2"][random.integers(0, 400, 40), random.integers(0, 32, 40)] *= 40
    whole = STRICT.find(calm)
    calm.iteration = calm.iteration[:250]
    calm.filter_values = {name: values[:250] for name, values in calm.filter_values.items()}
    assert STRICT.find(calm) == [found for found in whole if found.start < 250 * 16]


def test_a_run_without_the_statistic_is_left_alone(calm: Any) -> None:
    calm.filter_values = {}
    assert STRICT.find(calm) == []
