"""The buckets of queries against those of the index, which go through the records in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptracker.data_model.bucket_rows import empty_rows, reduce_buckets, reduce_levels, reduce_records
from deeptracker.data_model.missing import is_missing, recorded
from deeptracker.data_model.reduction import merge_buckets, summarise_records

DTYPES = st.sampled_from([np.float32, np.float64])


def wild(seed: int, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Values with spikes, Inf, recorded NaN and gaps, (series, records)."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(dtype)
    kind = rng.random(shape)
    values[kind < 0.05] *= 1e6
    values[(kind > 0.8) & (kind < 0.85)] = np.inf
    values[(kind > 0.85) & (kind < 0.9)] = np.nan
    values = np.asarray(recorded(values))
    values[(kind > 0.9) & (kind < 0.95)] = np.nan  # missing
    values[kind < 0.02] = -0.0
    return values


def plain(values: NDArray[Any], span: int) -> NDArray[Any]:
    """The slow and readable twin: (5, series, buckets) float64, bucket by bucket."""
    out = np.full((5, len(values), -(-values.shape[1] // span)), np.nan)
    for one, series in enumerate(values):
        for bucket in range(out.shape[2]):
            part = series[bucket * span : (bucket + 1) * span]
            finite = part[np.isfinite(part)].astype(np.float64)
            if len(finite):
                out[:3, one, bucket] = finite.min(), finite.max(), finite.mean()
            out[3:, one, bucket] = len(finite), (~np.isfinite(part) & ~is_missing(np.array(part))).sum()
    return out


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    series=st.integers(1, 4),
    records=st.integers(1, 600),
    level=st.integers(0, 3),
    merged=st.sampled_from([1, 2, 4]),
    dtype=DTYPES,
)
def test_equals_brute_force(seed: int, series: int, records: int, level: int, merged: int, dtype: Any) -> None:
    values = wild(seed, (series, records), dtype)
    found, expected = reduce_levels(values, level, merged), plain(values, 8**level * merged)
    np.testing.assert_array_equal(found[[0, 1, 3, 4]], expected[[0, 1, 3, 4]])
    largest = np.abs(values[np.isfinite(values)]).max(initial=1)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5, atol=1e-6 * largest)
    assert np.all((found[2] >= found[0]) & (found[2] <= found[1]) | (found[3] == 0))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), series=st.integers(1, 4), records=st.integers(1, 600), dtype=DTYPES)
def test_equals_the_index_bit_by_bit(seed: int, series: int, records: int, dtype: Any) -> None:
    values = wild(seed, (series, records), dtype)
    levels = [summarise_records(np.ascontiguousarray(values.T))]
    levels += [merge_buckets(levels[0])]
    levels += [merge_buckets(levels[1])]
    for number, level in enumerate(levels, start=1):
        assert reduce_levels(values, number, 1).tobytes() == np.ascontiguousarray(level.transpose(1, 2, 0)).tobytes()


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_takes_some_series_and_some_buckets_to_other_places(factor: int) -> None:
    rows = reduce_levels(wild(1, (5, 900), np.float32), 1, 1)
    rows[:, 2, :40] = np.nan  # what was stored before series 2 came
    pick, put = np.array([4, 2, 0]), np.array([1, 0, 3])
    out = empty_rows(4, 40, np.dtype(np.float32))
    out[:] = -7
    reduce_buckets(rows, factor, out, 3, slice(8, 32), pick, put)
    known = rows.copy()
    known[3:] = np.nan_to_num(known[3:])
    expected = np.ascontiguousarray(known[:, pick, 8:32].transpose(2, 0, 1))
    for _ in range({1: 0, 8: 1}.get(factor, 0)):
        expected = merge_buckets(expected)
    count = 24 // factor
    if factor in (1, 8):
        np.testing.assert_array_equal(out[:, put, 3 : 3 + count], expected.transpose(1, 2, 0))
    np.testing.assert_array_equal(out[3, put, 3 : 3 + count], known[3, pick, 8:32].reshape(3, count, factor).sum(2))
    untouched = np.ones((4, 40), bool)
    untouched[np.ix_(put, np.arange(3, 3 + count))] = False
    assert (out[:, untouched] == -7).all()


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("stop", [32, 37])
def test_takes_some_series_and_some_records_to_other_places(factor: int, stop: int) -> None:
    values = wild(2, (5, 60), np.float32)
    out = empty_rows(4, 40, np.dtype(np.float32))
    out[:] = -7
    reduce_records(values, factor, out, 3, slice(8, stop), [4, 2, 0], slice(1, 4))
    expected = reduce_levels(values[[4, 2, 0], 8:stop], 0, factor)
    count = expected.shape[2]
    assert out[:, 1:, 3 : 3 + count].tobytes() == expected.tobytes()
    out[:, 1:, 3 : 3 + count] = -7
    assert (out == -7).all()
