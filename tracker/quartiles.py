"""Quartiles from a fixed random sample of every tensor: exact for tensors of at most 1024 values.

A random sample, never a stride: strides meet the periods of convolution weights. The sample is the same at every
iteration, so that the quartiles of unchanged weights do not flicker; its rank error is about .014.

Only a few values are sorted. Of more, a quartile is searched by counting how many lie below a pivot, which the vector
units do in a fraction of a microsecond, starting where it was found last: weights move little between two iterations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeptracker.tracker.compiled import compiled, vectorised

SAMPLE = 1024

FEW = 32
"""Values of which all are sorted, which is faster than to search where there are so few."""

_FARTHEST = 1 << 31
"""Values of a tensor that places of 32 bits reach, half as much memory as longer ones: more than a layer has."""

Keys = NDArray[np.int32]
Doubles = NDArray[np.float64]

_ABOVE_ALL = np.int32(0x7FFFFFFF)
_BELOW_ALL = np.int32(-0x80000000)
_INFINITE = np.int32(0x7F800000)
_SECANTS = 12
"""Steps by interpolation, after which the search halves: a heap of values far from a straight line defeats them."""

_FLATTEST = 4.0
"""By how many mean absolute values a normal distribution spreads one unit of rank at its quartiles."""


@vectorised
def _ordered(bits: np.int32) -> np.int32:
    """Map the bits of a float32 to an integer of the same order, and back."""
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@compiled
def _value(key: np.int32) -> np.float64:
    return np.float64(np.int32(_ordered(key)).view(np.float32))


@compiled
def _key(value: float) -> np.int32:
    return np.int32(_ordered(np.float32(value).view(np.int32)))


@vectorised
def sample(bits: Keys, size: int, indices: Keys, first: int, count: int, keys: Keys) -> int:
    """Write the ordered keys of `count` of the values, at the indices from `first` on; return `count`, 0 for no values.

    NaN and Inf come above all.
    """
    if size == 0:
        return 0
    # Fetched first, and then made keys of in one go: the vector units can do the second, but not both at once.
    if count == size:
        for position in range(count):
            keys[position] = bits[position]
    else:
        for position in range(count):
            keys[position] = bits[indices[first + position]]
    for position in range(count):
        finite = np.int32(keys[position] & _INFINITE) != _INFINITE
        keys[position] = _ordered(keys[position]) if finite else _ABOVE_ALL
    return count


@vectorised
def _below(keys: Keys, size: int, pivot: np.int32) -> np.int32:
    count = np.int32(0)
    for position in range(size):
        count = np.int32(count + np.int32(keys[position] < pivot))
    return count


@vectorised
def _neighbours(keys: Keys, size: int, pivot: np.int32) -> tuple[np.int32, np.int32]:
    """Return the largest key below the pivot, and the smallest that is not."""
    largest, smallest = _BELOW_ALL, _ABOVE_ALL
    for position in range(size):
        key = keys[position]
        largest = max(largest, key if key < pivot else _BELOW_ALL)
        smallest = min(smallest, key if key >= pivot else _ABOVE_ALL)
    return largest, smallest


@compiled
def _pair(keys: Keys, size: int, finite: np.int64, rank: np.int64, guess: float, unit: float) -> tuple[float, float]:
    """Return the values of rank and rank + 1 (the same at the end), counted from 0; `guess` is where to begin.

    `unit` is a size for the first steps. `low` has at most `rank` keys below it and `high` more than that; every pivot
    lies strictly between them. They close in by steps in proportion to what is missing in rank, or else by halves.
    """
    low, high = np.int64(_BELOW_ALL), np.int64(_ABOVE_ALL)
    low_count, high_count = np.int64(0), finite
    wanted, steps = rank + 1, 0
    here = np.int64(_key(guess))
    while high - low > 1:
        if not low < here < high:
            here = low + (high - low) // 2
        count = np.int64(_below(keys, size, np.int32(here)))
        if count == wanted:
            below, above = _neighbours(keys, size, np.int32(here))
            return _value(below), _value(above if wanted < finite else below)
        if count < wanted:
            low, low_count = here, count
        else:
            high, high_count = here, count
        steps += 1
        if steps > _SECANTS:
            here = low + (high - low) // 2
        elif low == _BELOW_ALL or high == _ABOVE_ALL:
            missing = (wanted - count) / finite
            here = np.int64(_key(_value(np.int32(here)) + _FLATTEST * missing * unit * steps * steps))
        else:
            start, stop = _value(np.int32(low)), _value(np.int32(high))
            share = (wanted - low_count) / (high_count - low_count)
            here = np.int64(_key(start + (stop - start) * share))
    # All keys between low and high are equal to low.
    found = _value(np.int32(low))
    if high_count > wanted or wanted >= finite:
        return found, found
    return found, _value(_neighbours(keys, size, np.int32(high))[1])


@compiled
def _sort(keys: Keys, size: int) -> None:
    """Sort the keys where they are, by insertion."""
    for position in range(1, size):
        key, here = keys[position], position
        while here > 0 and keys[here - 1] > key:
            keys[here] = keys[here - 1]
            here -= 1
        keys[here] = key


@compiled
def _ranked(keys: Keys, finite: np.int64, rank: np.int64) -> tuple[float, float]:
    """Return the same as `_pair`, of sorted keys."""
    return _value(keys[rank]), _value(keys[min(rank + 1, finite - 1)])


@compiled
def quartiles(keys: Keys, size: int, unit: float, guesses: Doubles, guess: int, out: Doubles, at: int) -> None:
    """Write q1, median and q3 of the sampled finite values to `out`, interpolated linearly between neighbours.

    NaN where no value is finite. `unit` is the size of the tensor's values. `guesses` (3 from `guess` on) tell in that
    unit where to begin the search, and become what was found: tensors keep their shape better than their size.
    """
    finite = np.int64(_below(keys, size, _ABOVE_ALL))
    unit = unit if unit > 0 else 1.0
    few = size <= FEW
    if few:
        _sort(keys, size)
    for quarter in range(3):
        if finite == 0:
            out[at + quarter] = np.nan
            continue
        position = (quarter + 1) * 0.25 * (finite - 1)
        rank = np.int64(position)
        begin = guesses[guess + quarter] * unit
        low, high = _ranked(keys, finite, rank) if few else _pair(keys, size, finite, rank, begin, unit)
        out[at + quarter] = low + (high - low) * (position - rank)
        guesses[guess + quarter] = (0.5 * low + 0.5 * high) / unit


class Sampler:
    """Where the tensors of the given sizes are sampled: always at the same places, weights and gradients alike."""

    def __init__(self, sizes: NDArray[np.int64], seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.offsets = np.concatenate([[0], np.cumsum(np.minimum(sizes, SAMPLE))]).astype(np.int64)
        chosen = [
            np.sort(random.choice(min(size, _FARTHEST), SAMPLE, replace=False)) if size > SAMPLE else np.arange(size)
            for size in sizes.tolist()
        ]
        self.indices = np.concatenate(chosen).astype(np.int32)
        self.keys = np.empty(SAMPLE, np.int32)
        # Of a normal distribution, in units of the mean absolute value.
        self.guesses = np.tile(np.array([-0.845, 0.0, 0.845]), (len(sizes), 2, 1))
