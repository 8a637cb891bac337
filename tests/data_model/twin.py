"""The index by its definition, in plain numpy: a slow twin of the kernels, and brute force over raw records."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import is_missing

Records = NDArray[np.floating[Any]]
"""Raw records of some series, (records, series)."""


def first_level(values: Records, span: int = 8) -> NDArray[Any]:
    """Reduce every `span` records to (buckets, 5, series), one record after the other in float64."""
    finite = np.isfinite(values)
    unit = np.empty((len(values), 5, values.shape[1]), values.dtype)
    unit[:, :3] = np.where(finite, values, np.nan)[:, None]
    unit[:, 3], unit[:, 4] = finite, ~finite & ~is_missing(values)
    return unit if span == 1 else next_level(unit)


def next_level(buckets: NDArray[Any], factor: int = 8) -> NDArray[Any]:
    """Reduce every `factor` buckets (buckets, 5, series) to one, one after the other in float64."""
    short = -len(buckets) % factor
    parts = np.concatenate([buckets, np.full((short, *buckets.shape[1:]), np.nan, buckets.dtype)])
    parts = parts.reshape(-1, factor, 5, buckets.shape[2])
    out = np.full((len(parts), 5, buckets.shape[2]), np.nan, buckets.dtype)
    out[:, 3:] = 0
    total = np.zeros((len(parts), buckets.shape[2]))
    for one in range(factor):
        some = parts[:, one, 3] > 0
        out[:, 0] = np.where(some, np.fmin(out[:, 0], parts[:, one, 0]), out[:, 0])
        out[:, 1] = np.where(some, np.fmax(out[:, 1], parts[:, one, 1]), out[:, 1])
        finite = np.where(some, parts[:, one, 3], 0).astype(np.float64)
        total += np.where(some, parts[:, one, 2].astype(np.float64) * finite, 0)
        out[:, 3] += np.nan_to_num(parts[:, one, 3])
        out[:, 4] += np.nan_to_num(parts[:, one, 4])
    with np.errstate(invalid="ignore"):
        mean = (total / out[:, 3].astype(np.float64)).astype(buckets.dtype)
    out[:, 2] = np.where(out[:, 3] > 0, np.clip(mean, out[:, 0], out[:, 1]), np.nan)
    return out


def levels_of(values: Records, most: int) -> list[NDArray[Any]]:
    """Return level 0 (every record a bucket) to level `most` of raw records, (buckets, 5, series) each."""
    levels = [first_level(values, 1)]
    for _ in range(most):
        levels.append(next_level(levels[-1]))
    return levels


def brute_force(values: Records, starts: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Reduce records [starts[b], starts[b + 1]) of every series at once, the last bucket up to the end.

    The mean is that of the values themselves, in long doubles; NaN where nothing is finite.
    """
    if not len(starts) or not values.shape[1]:
        return {name: np.empty((len(starts), values.shape[1])) for name in ("min", "max", "mean", "count", "nonfinite")}
    finite = np.isfinite(values)
    count = np.add.reduceat(finite.astype(np.int64), starts)
    known = count > 0
    total = np.add.reduceat(np.where(finite, values, 0).astype(np.longdouble), starts)
    low = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    return {
        "min": np.where(known, low, np.nan),
        "max": np.where(known, high, np.nan),
        "mean": np.where(known, total / np.maximum(count, 1), np.nan),
        "count": count,
        "nonfinite": np.add.reduceat((~finite & ~is_missing(values)).astype(np.int64), starts),
    }


def across(found: dict[str, NDArray[Any]], members: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return the brute force of several series together, (buckets, 1), from that of each."""
    part = {name: values[:, members] for name, values in found.items()}
    count = part["count"].sum(axis=1, keepdims=True)
    total = (np.nan_to_num(part["mean"]) * part["count"]).sum(axis=1, keepdims=True)
    return {
        "min": np.fmin.reduce(part["min"], axis=1, keepdims=True, initial=np.nan),
        "max": np.fmax.reduce(part["max"], axis=1, keepdims=True, initial=np.nan),
        "mean": np.where(count > 0, total / np.maximum(count, 1), np.nan),
        "count": count,
        "nonfinite": part["nonfinite"].sum(axis=1, keepdims=True),
    }
