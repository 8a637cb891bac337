"""What full windows of a scan over blocks lead to expect, and their spread, of many series at once.

A median needs its values in order. Sorted by a network (a fixed list of pairs to compare), many series are sorted side
by side, each pair for all of them in a few instructions; one after the other, each by its own comparisons, they take
six times as long. The two halves of a window are sorted, and the median of both follows from them (Batcher 1968).
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

LANES = 32
"""Series side by side: a few registers wide, and small enough for the fastest cache."""


def sorting_network(count: int) -> npt.NDArray[np.int64]:
    """Return the pairs (pairs, 2) of places that sort `count` values, compared in order: Batcher's odd-even mergesort.

    >>> sorting_network(3).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    pairs = []
    merged = 1
    while merged < count:
        step = merged
        while step:
            for start in range(step % merged, count - step, 2 * step):
                below = range(start, min(start + step, count - step))
                pairs += [(one, one + step) for one in below if one // (2 * merged) == (one + step) // (2 * merged)]
            step //= 2
        merged *= 2
    return np.array(pairs, np.int64).reshape(-1, 2)


@numba.njit(cache=True)
def _sort(values, first, network):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sort values [first, ...) (value, lane) of every lane, as many as the network is for."""
    for pair in range(network.shape[0]):
        low, high = values[first + network[pair, 0]], values[first + network[pair, 1]]
        for lane in range(LANES):
            one, other = low[lane], high[lane]
            low[lane] = one if one < other else other
            high[lane] = other if one < other else one


@numba.njit(cache=True)
def _middle(values, first, count, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Put the median of sorted values [first, first + count) of every lane into `out`."""
    lower, upper = values[first + (count - 1) // 2], values[first + count // 2]
    for lane in range(LANES):
        out[lane] = 0.5 * (lower[lane] + upper[lane])


@numba.njit(cache=True)
def _middle_of_both(values, half, out, spare):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Put the median of two sorted halves of every lane into `out`: between the two halves by size."""
    out[:] = -np.inf
    spare[:] = np.inf
    for place in range(half):
        older, newer = values[place], values[2 * half - 1 - place]
        for lane in range(LANES):
            one, other = older[lane], newer[lane]
            low, high = (one, other) if one < other else (other, one)
            out[lane] = low if low > out[lane] else out[lane]
            spare[lane] = high if high < spare[lane] else spare[lane]
    for lane in range(LANES):
        out[lane] = 0.5 * (out[lane] + spare[lane])


@numba.njit(cache=True)
def expect_lanes(values, lag, network, room):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Find what windows of values (window, lane), oldest first, lead to expect; see `block_kernel` for a single one.

    `room` is a copy of the values, to be sorted, and five rows: lowest, highest, spread, and two to work in.
    """
    ordered, (low, high, spread, older, newer) = room
    window = values.shape[0]
    half = window // 2
    _sort(ordered, 0, network)
    _sort(ordered, half, network)
    _middle(ordered, 0, half, older)
    _middle(ordered, half, half, newer)
    _middle_of_both(ordered, half, low, spread)
    ahead = 0.5 * (half + 1) + lag
    for lane in range(LANES):
        slope = (newer[lane] - older[lane]) / half
        level, course = low[lane], newer[lane] + slope * ahead
        low[lane] = min(level, course)
        high[lane] = max(level, course)
        older[lane] = slope
        newer[lane] -= slope * (window - 0.5 * (half + 1))
    for number in range(window):
        one, residual = values[number], ordered[number]
        for lane in range(LANES):
            residual[lane] = abs(one[lane] - newer[lane] - older[lane] * number)
    _sort(ordered, 0, network)
    _sort(ordered, half, network)
    _middle_of_both(ordered, half, spread, older)
    for lane in range(LANES):
        spread[lane] *= 1.4826
