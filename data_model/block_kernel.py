"""The compiled part of a scan over blocks: keeps the last ones of every series, and judges each new one."""

from __future__ import annotations

import numba
import numpy as np

from deeptracker.data_model.block_lanes import LANES, expect_lanes

PRIOR, FORGETTING = 20.0, 0.05
"""Observations that the long-run scale counts for, and how fast it follows."""
FREEDOM = 0.37
"""Degrees of freedom of a MAD, for each value it is made of: its efficiency against the standard deviation."""
MEDIAN_VARIANCE = 1.57
"""Variance of a median, against that of the mean (pi / 2)."""
POOL = 10_000
"""Scores that are kept of a pool."""
MANY = 5
"""From so many series on, what a group has in common is told apart from what each has."""


@numba.njit(cache=True)
def _select(values, low, high, wanted):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the value of this rank among [low, high], which change their order: Hoare's quickselect."""
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@numba.njit(cache=True)
def _median(values, first, stop):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the median of values [first, stop), which change their order."""
    middle = first + (stop - first) // 2
    upper = _select(values, first, stop - 1, middle)
    if (stop - first) % 2:
        return upper
    lower = values[first]
    for place in range(first + 1, middle):
        lower = max(lower, values[place])
    return 0.5 * (lower + upper)


@numba.njit(cache=True)
def _push(one, value, lag, ring, queue, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Let a value join the last ones of a series, `lag` values late; counts: in the ring, next place, in the queue."""
    if lag > 0:
        waiting = counts[one, 2]
        if waiting < lag:
            queue[one, waiting] = value
            counts[one, 2] += 1
            return
        oldest = queue[one, 0]
        for place in range(lag - 1):
            queue[one, place] = queue[one, place + 1]
        queue[one, lag - 1] = value
        value = oldest
    window, place = ring.shape[1], counts[one, 1]
    ring[one, place] = value
    counts[one, 1] = place + 1 if place + 1 < window else 0
    counts[one, 0] = min(counts[one, 0] + 1, window)


@numba.njit(cache=True)
def _variance(count, lag):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the variance of what so many last values lead to expect, in units of theirs."""
    half = count // 2
    reach = (0.5 * (half + 1) + lag) / (count - half)
    return MEDIAN_VARIANCE / half * (1 + lag) * ((1 + reach) ** 2 + reach**2)


@numba.njit(cache=True)
def _expect(ring, count, lag, fewest, work):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the lowest and highest value to expect after the first `count` of a ring, and their spread.

    There is no spread of fewer than `fewest` values. `work` (window,) is room for them.
    """
    half = count // 2
    work[:count] = ring[:count]
    older, newer = _median(work, 0, half), _median(work, count - half, count)
    level = _median(work, 0, count)
    slope, ahead = (newer - older) / (count - half), 0.5 * (half + 1) + lag
    centre, course = newer - slope * (count - 0.5 * (half + 1)), newer + slope * ahead
    if count < fewest:
        return min(level, course), max(level, course), 0.0
    for number in range(count):
        work[number] = abs(ring[number] - centre - slope * number)
    return min(level, course), max(level, course), 1.4826 * _median(work, 0, count)


@numba.njit(cache=True)
def _expect_all(judged, lag, fewest, network, ring, counts, low, high, spread):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Put what every judged series leads to expect into `low`, `high` and `spread`: those with full rings together."""
    series, window = ring.shape
    values, ordered, found = np.zeros((window, LANES)), np.empty((window, LANES)), np.empty((5, LANES))
    few = np.empty(window)
    for start in range(0, series, LANES):
        stop, full = min(start + LANES, series), False
        for one in range(start, stop):
            if judged[one] and counts[one, 0] == window:
                full, place, lane = True, counts[one, 1], one - start
                for number in range(window - place):
                    values[number, lane] = ring[one, place + number]
                for number in range(place):
                    values[window - place + number, lane] = ring[one, number]
        if full:
            ordered[:] = values
            expect_lanes(values, lag, network, (ordered, found))
        for one in range(start, stop):
            if judged[one] and counts[one, 0] == window:
                low[one], high[one], spread[one] = found[0, one - start], found[1, one - start], found[2, one - start]
            elif judged[one]:  # a ring that is not full begins with the oldest
                low[one], high[one], spread[one] = _expect(ring[one], counts[one, 0], lag, fewest, few)


@numba.njit(cache=True)
def _rescale(group, judged, counts, fewest, scale, common):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bring every series' long-run scale up to date, apart from what its whole group has in common."""
    series = group.size
    ratios = np.empty(series)
    start = 0
    while start < series:
        stop = start
        found = 0
        while stop < series and group[stop] == group[start]:
            if judged[stop] and counts[stop, 0] >= fewest:
                if scale[stop, 1] == 0:
                    scale[stop, 1] = scale[stop, 0]
                ratios[found] = scale[stop, 0] / scale[stop, 1]
                found += 1
            stop += 1
        if found > 0:
            ratio = _select(ratios, 0, found - 1, found // 2) if found >= MANY else 1.0
            for one in range(start, stop):
                common[one] = ratio
                if judged[one] and counts[one, 0] >= fewest:
                    scale[one, 1] *= (scale[one, 0] / ratio / scale[one, 1]) ** FORGETTING
        start = stop


@numba.njit(cache=True)
def advance(values, landmark, first, few, sided, network, group, pool, floor, state, numbers, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Judge blocks (block, series) from number `first` on, and let each join the last ones of its series.

    `few`, `state` and `numbers` are what a BlockScan holds, `network` sorts half a window; `out` gets score, limit
    passed (0: none), expected value, and whether it is strong.
    """
    fewest, fewest_after, start, lag = few
    ring, queue, scale, past, limit = state
    counts, pooled = numbers
    score, passed, middle, strong = out
    series = ring.shape[0]
    judged = np.zeros(series, np.bool_)
    common = np.ones(series)
    low, high, width = np.empty(series), np.empty(series), np.empty(series)
    for row in range(values.shape[0]):
        block = first + row
        if landmark[row]:
            counts[:] = 0
            continue
        for one in range(series):
            needed = fewest_after if scale[one, 1] > 0 else fewest
            judged[one] = np.isfinite(values[row, one]) and counts[one, 0] >= needed
        _expect_all(judged, lag, fewest, network, ring, counts, low, high, width)
        for one in range(series):
            if judged[one]:
                middle[row, one] = min(max(values[row, one], low[one]), high[one])
                if counts[one, 0] >= fewest:
                    scale[one, 0] = width[one] + 1e-12
        _rescale(group, judged, counts, fewest, scale, common)
        for one in range(series):
            value, own = values[row, one], pool[one]
            if judged[one]:
                count = counts[one, 0]
                freedom = FREEDOM * max(count, fewest)
                long_run = common[one] * scale[one, 1]
                mixed = (freedom * scale[one, 0] ** 2 + PRIOR * long_run**2) / (freedom + PRIOR)
                spread = max(np.sqrt(mixed), floor[one]) * np.sqrt(1 + _variance(count, lag))
                z = (value - middle[row, one]) / spread
                size = z if sided else abs(z)
                score[row, one] = z
                if size > limit[own, 0]:
                    if block >= start:
                        passed[row, one] = limit[own, 0]
                        strong[row, one] = size > limit[own, 1]
                elif size >= 0:
                    past[own, pooled[own] % POOL] = size
                    pooled[own] += 1
            if np.isfinite(value):
                _push(one, value, lag, ring, queue, counts)
