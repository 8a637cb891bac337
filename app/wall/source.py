"""What a wall draws: values of rows over buckets of iterations, or states of rows at validations. No browser here.

Missing is NaN (or the state `MISSING`); a value that was recorded but is NaN or infinite is a flag beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

WRONG, RIGHT, FORGOTTEN, LEARNED, MISSING = 0, 1, 2, 3, 255
"""States of an image at a validation: bit 0 says right, bit 1 says that it changed since the validation before."""
STATE_NAMES = {WRONG: "wrong", RIGHT: "right", FORGOTTEN: "forgotten", LEARNED: "learned", MISSING: "missing"}


@dataclass(frozen=True)
class Envelope:
    """Values of rows over buckets of iterations [start, stop), all of them float32 (rows, buckets).

    `low` to `high` is everything the bucket holds, `band_low` to `band_high` its inner part, `middle` its line.
    A source without an inner part gives the middle for both. `nonfinite` marks buckets with a NaN or Inf recorded.
    """

    start: Integers
    stop: Integers
    low: Floats
    band_low: Floats
    middle: Floats
    band_high: Floats
    high: Floats
    nonfinite: Flags

    @classmethod
    def of(
        cls, start: Integers, stop: Integers, low: Floats, middle: Floats, high: Floats, nonfinite: Flags
    ) -> Envelope:
        """Make an envelope that has no inner band."""
        return cls(start, stop, low, middle, middle, middle, high, nonfinite)

    @classmethod
    def empty(cls, rows: int) -> Envelope:
        """Make an envelope of rows of which nothing is recorded."""
        edges, values = np.empty(0, np.int64), np.empty((rows, 0), np.float32)
        return cls.of(edges, edges, values, values, values, np.empty((rows, 0), np.bool_))


@dataclass(frozen=True)
class States:
    """States of rows at validations, uint8 (rows, validations); a validation stands for iterations [start, stop)."""

    start: Integers
    stop: Integers
    state: Bytes


@runtime_checkable
class EnvelopeSource(Protocol):
    """Gives the values of any rows over any iterations, at about as many buckets as there are pixels."""

    def envelope(self, entities: npt.NDArray[np.int32], iterations: tuple[int, int], columns: int) -> Envelope:
        """Return the envelope of the entities over iterations [first, stop), in at least `columns` buckets.

        Fewer come where fewer are recorded; the outermost buckets may reach beyond the iterations asked for.
        """
        ...


@runtime_checkable
class PoolingSource(EnvelopeSource, Protocol):
    """Gives several rows as one, too: what a folded group of a tree shows."""

    def pooled(self, members: Sequence[Sequence[int]], iterations: tuple[int, int], columns: int) -> Envelope:
        """Return the envelope of each group of entities: the lowest low, the highest high, the mean of all values."""
        ...


@runtime_checkable
class StateSource(Protocol):
    """Gives the states of any rows at all validations."""

    def states(self, entities: npt.NDArray[np.int32]) -> States:
        """Return the states of the entities at every validation."""
        ...


WallSource = EnvelopeSource | StateSource


def until_next(start: Integers) -> Integers:
    """Return where each record ends if it holds until the next one; the last holds for the usual gap.

    >>> until_next(np.array([0, 10, 20, 50])).tolist()
    [10, 20, 50, 60]
    """
    if not len(start):
        return start.copy()
    usual = int(np.median(np.diff(start))) if len(start) > 1 else 1
    return np.append(start[1:], start[-1] + max(1, usual))


_VALUES = ("low", "band_low", "middle", "band_high", "high")


def align(envelopes: Sequence[Envelope]) -> Envelope:
    """Return all rows of several envelopes over common buckets: every edge of any of them is an edge.

    Nothing is averaged: a bucket that is cut keeps its values in all of its pieces.
    """
    if not envelopes:
        return Envelope.empty(0)
    edges = np.unique(np.concatenate([np.concatenate([one.start, one.stop]) for one in envelopes]))
    start, stop = edges[:-1], edges[1:]
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in (*_VALUES, "nonfinite")}
    for one in envelopes:
        bucket = np.searchsorted(one.start, start, side="right") - 1
        inside = bucket >= 0
        inside[inside] &= start[inside] < one.stop[bucket[inside]]
        place = np.where(inside, bucket, 0)
        for name, rows in parts.items():
            values = getattr(one, name)
            empty = np.full((len(values), len(start)), name != "nonfinite" and np.nan, values.dtype)
            rows.append(np.where(inside, values[:, place], empty) if len(one.start) else empty)
    return Envelope(start, stop, **{name: np.concatenate(rows) for name, rows in parts.items()})
