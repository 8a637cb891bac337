"""Where aligned series of several runs part, against the noise between repeats of the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

Floats = npt.NDArray[np.float64]

PRECISION = 1e-6
"""Differences below this share of the values are none, where nothing else tells: values are kept as float32."""

TRIMMED = 0.02

NOISE_BUCKETS = 11
"""Buckets over which noise is averaged: a few repeats say little at each single one."""


@dataclass(frozen=True)
class Parting:
    """How far two groups of runs are apart, (bucket, entity) each: `difference` of their means, and `noise`, the
    standard deviation to be expected of that difference, NaN where it is not known.
    """

    difference: Floats
    noise: Floats

    @property
    def z(self) -> Floats:
        """The difference in units of its noise; 0 where either is not known."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.nan_to_num(self.difference / self.noise, nan=0.0, posinf=0.0, neginf=0.0))


def resample(edges: Floats, starts: Floats, stops: Floats, values: npt.NDArray[Any]) -> Floats:
    """Average series that are constant over [start, stop) (n,) over buckets between `edges`: (bucket, entity) float64.

    `values` is (n, entity). Each is weighed by how much of it lies in the bucket; NaN where nothing known does.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    length = (stops - starts)[:, None]
    places = np.empty(2 * len(starts))
    places[0::2], places[1::2] = starts, stops
    parts = []
    for amount in (np.where(known, values, 0) * length, known * length):
        total = np.zeros((2 * len(starts), values.shape[1]))
        total[1::2] = np.cumsum(amount, axis=0)
        total[2::2] = total[1:-1:2]
        columns = [np.interp(edges, places, total[:, one]) for one in range(values.shape[1])] if len(starts) else []
        parts.append(np.diff(np.stack(columns, axis=1), axis=0) if columns else np.zeros((len(edges) - 1, 0)))
    share = parts[1] / np.diff(edges)[:, None]
    return np.asarray(np.divide(parts[0], parts[1], out=np.full(parts[0].shape, np.nan), where=share > 1e-9))


def parting(first: Floats, second: Floats) -> Parting:
    """Compare two groups of aligned runs, (run, bucket, entity) each; a group is one run and its repeats.

    With repeats in either group the noise is the deviation of repeats from the mean of their group, pooled over both
    groups and averaged over `NOISE_BUCKETS` buckets, but no less than half its average over all. Without any it is
    how much the difference itself jumps from one bucket to the next: that knows of no seeds, and is too small where
    runs wander slowly. Never is it less than the `PRECISION` of the values.
    """
    difference = second.mean(axis=0) - first.mean(axis=0)
    groups = [group for group in (first, second) if len(group) > 1]
    if groups:
        freedom = sum(len(group) - 1 for group in groups)
        square = np.sum([((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in groups], axis=0) / freedom
        noise = np.sqrt(_average(square) * (1 / len(first) + 1 / len(second)))
    else:
        noise = np.broadcast_to(_jumps(difference), difference.shape)
    noise = np.maximum(noise, PRECISION * np.maximum(_largest(first), _largest(second)))
    return Parting(difference, np.where(noise > 0, noise, np.nan))


def _jumps(difference: Floats) -> Floats:
    """Return how much each entity's difference jumps from one bucket to the next, as a standard deviation.

    Without the largest fiftieth of the jumps, so that parting itself is not taken for noise.
    """
    square = np.sort(np.diff(difference, axis=0) ** 2 / 2, axis=0)
    known = np.isfinite(square).sum(axis=0)
    kept = known - np.ceil(TRIMMED * known).astype(np.int64)
    total = np.cumsum(np.vstack([np.zeros((1, square.shape[1])), np.nan_to_num(square)]), axis=0)
    return np.asarray(np.sqrt(total[kept, np.arange(square.shape[1])] / np.maximum(kept, 1)))


def _largest(values: Floats) -> Floats:
    finite = np.where(np.isfinite(values), np.abs(values), 0)
    return np.asarray(finite.max(axis=(0, 1), initial=0))


def _average(square: Floats) -> Floats:
    known = np.isfinite(square)
    weight = uniform_filter1d(known.astype(np.float64), NOISE_BUCKETS, axis=0, mode="constant")
    near = uniform_filter1d(np.where(known, square, 0), NOISE_BUCKETS, axis=0, mode="constant")
    near = np.divide(near, weight, out=np.zeros_like(near), where=weight > 0)
    overall = np.where(known, square, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.asarray(np.maximum(near, overall / 4))


def first_parting(found: Parting, threshold: float, lasting: int) -> npt.NDArray[np.int64]:
    """Return the bucket from which each entity is apart, (entity,): |z| above the threshold, to the same side, for
    `lasting` buckets in a row; -1 where it never is.
    """
    z = found.z
    start = np.full(z.shape[1], -1, np.int64)
    lasting = max(1, min(lasting, len(z)))
    for side in (z > threshold, z < -threshold):
        windows = len(z) - lasting + 1
        if windows < 1:
            continue
        run = np.cumsum(np.vstack([np.zeros((1, z.shape[1]), np.int64), side]), axis=0)
        full = run[lasting:] - run[:-lasting] == lasting
        at = np.where(full.any(axis=0), full.argmax(axis=0), -1)
        start = np.where((at >= 0) & ((start < 0) | (at < start)), at, start)
    return start
