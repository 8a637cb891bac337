"""Finds blocks of a series that are far from the blocks before them; goes on where it stopped.

A block's score is z = (value - expected) / s. What the last blocks lead to expect is all that lies between their median
and a line through the medians of their older and their newer half: a loss that falls all the time has no level but a
course, and one that slows down stays behind its course, and neither is a fault. The variance s^2 mixes that of the last
blocks about the line (their MAD) with the series' long-run one, as if of twenty more observations (the moderated
variance of Smyth 2004), so that a few quiet blocks do not make the next one an outlier; series of one group (one
statistic of all layers) share what makes all of them louder or quieter at once. It is far when it passes both Student's
t and the tail of all scores that series of its pool have had so far (see `tails`), at the risk that is wanted.

At a landmark (the learning rate took a step) the last blocks are forgotten, and the scale is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import stats

from deeptracker.data_model.tails import exceeded_with_risks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRIOR, FORGETTING = 20.0, 0.05
"""Observations that the long-run scale counts for, and how fast it follows."""
FREEDOM = 0.37
"""Degrees of freedom of a MAD, for each value it is made of: its efficiency against the standard deviation."""
MEDIAN_VARIANCE = 1.57
"""Variance of a median, against that of the mean (pi / 2)."""
POOL, FEWEST_POOLED = 10_000, 100
TAIL_OF_MANY, TAIL_OF_FEW, MANY = 0.02, 0.05, 5
"""The share of a pool that is its tail: where a group has at least `MANY` series, and elsewhere."""
STEPS = (4, 8, 16, 32, 64, 128, 256)
"""Blocks between two fits of the tails: a sixteenth of the blocks so far, at most 256."""
STRONG = 30.0
"""A strong score passes at a risk this many times smaller."""


@dataclass(frozen=True)
class Limits:
    """When a block is far; `risk` is that of one series in one block, for a score on either side (or `sided`: above).

    `window` is the number of blocks before that it is compared with, `fewest` and `fewest_after_landmark` how many of
    them are needed, `start` the first block that is judged, `lag` the blocks right before that are left out.
    """

    risk: float
    window: int = 20
    fewest: int = 10
    fewest_after_landmark: int = 4
    start: int = 32
    lag: int = 0
    sided: bool = False


@dataclass(frozen=True)
class Far:
    """The blocks that are far: their number, series, score z and the limit it passed; `strong` says by how much."""

    block: Ints
    series: Ints
    z: Floats
    limit: Floats
    middle: Floats
    strong: npt.NDArray[np.bool_]


class BlockScan:
    """The state of a scan over many series of blocks; see the file."""

    def __init__(self, groups: Sequence[int], pools: Sequence[int], floors: Floats, limits: Limits) -> None:
        """Take each series' group and pool (numbers from 0, equal ones side by side) and its least spread."""
        series = len(groups)
        self.limits, self.block = limits, 0
        self._group, self._pool = np.asarray(groups, np.int64), np.asarray(pools, np.int64)
        self._floor = np.ascontiguousarray(floors, np.float64)
        count = int(self._pool.max(initial=-1)) + 1
        many = series >= MANY * len(set(groups))
        self._share = np.full(count, TAIL_OF_MANY if many else TAIL_OF_FEW)
        window = limits.window + limits.window % 2  # of two halves
        risk, freedom = limits.risk, FREEDOM * limits.window + PRIOR
        tail = risk if limits.sided else risk / 2
        self._least = np.array([stats.t.isf(tail, freedom), stats.t.isf(tail / STRONG, freedom)])
        self._ring = np.zeros((series, window))
        self._ordered = np.zeros((series, 3, window))  # of a full ring: all, the older half, the newer half
        self._queue = np.zeros((series, max(limits.lag, 1)))
        self._counts = np.zeros((series, 3), np.int64)
        self._scale = np.zeros((series, 2))
        self._past = np.zeros((count, POOL))
        self._pooled = np.zeros(count, np.int64)
        self._history = [(0, self._pooled.copy())]
        # Of many series the tail is soon known, and waited for; of a few it is not, and Student's t must do until then.
        self._limit = np.full((count, 2), np.inf) if many else np.tile(self._least, (count, 1))

    def advance(self, values: Floats, landmark: npt.NDArray[np.bool_]) -> Far:
        """Judge the next blocks, (blocks, series), NaN where there is none; `landmark` (blocks,) restarts levels."""
        blocks, series = values.shape
        score, limit, middle = (np.zeros((blocks, series)) for _ in range(3))
        strong = np.zeros((blocks, series), np.bool_)
        limits = self.limits
        values, first, done = np.ascontiguousarray(values, np.float64), self.block, 0
        while done < blocks:
            part = slice(done, done + min(self._renew_limits(), blocks - done))
            _advance(
                values[part],
                landmark[part],
                self.block,
                (limits.fewest, limits.fewest_after_landmark, limits.start, limits.lag),
                limits.sided,
                self._group,
                self._pool,
                self._floor,
                (self._ring, self._ordered, self._queue, self._scale, self._past, self._limit),
                (self._counts, self._pooled),
                (score[part], limit[part], middle[part], strong[part]),
            )
            self.block, done = self.block + part.stop - part.start, part.stop
        at, which = np.nonzero(limit)
        return Far(at + first, which, score[at, which], limit[at, which], middle[at, which], strong[at, which])

    def _renew_limits(self) -> int:
        """Fit the tails again where that is due, and return for how many blocks they hold: few at first, then more."""
        step = next(step for step in STEPS if self.block < 16 * step or step == STEPS[-1])
        if self.block % step:
            return step - self.block % step
        before = self._pooled_before()
        if self.block >= self.limits.start:
            for pool, count in enumerate(before):
                past = self._later_half(pool, int(count) if count >= FEWEST_POOLED else int(self._pooled[pool]))
                if len(past) >= FEWEST_POOLED:
                    risks = (self.limits.risk, self.limits.risk / STRONG)
                    passed = exceeded_with_risks(past, risks, self._share[pool])
                    self._limit[pool] = np.maximum(self._least, passed)
        return step

    def _pooled_before(self) -> Ints:
        """Return how many scores each pool had a window (or a third of all blocks) ago.

        What happens now must not raise its own limit.
        """
        self._history.append((self.block, self._pooled.copy()))
        until = self.block - min(self.limits.window, self.block // 3)
        while len(self._history) > 1 and self._history[1][0] <= until:
            self._history.pop(0)
        return self._history[0][1]

    def _later_half(self, pool: int, count: int) -> Floats:
        """Return the later half of the first `count` scores of a pool: a training begins wildly."""
        first = max(min(count // 2, max(count - FEWEST_POOLED, 0)), int(self._pooled[pool]) - POOL)
        return np.asarray(self._past[pool, np.arange(first, max(count, first)) % POOL])


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
def _push(one, value, lag, ring, ordered, queue, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
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
    if counts[one, 0] == window:
        leaving, crossing = ring[one, place], ring[one, (place + window // 2) % window]
        _reorder(ordered[one, 0], window, leaving, value)
        _reorder(ordered[one, 1], window // 2, leaving, crossing)
        _reorder(ordered[one, 2], window // 2, crossing, value)
    ring[one, place] = value
    counts[one, 1] = place + 1 if place + 1 < window else 0
    if counts[one, 0] < window:
        counts[one, 0] += 1
        if counts[one, 0] == window:  # it begins with the oldest: nothing has been overwritten
            ordered[one, 0, :window] = np.sort(ring[one])
            ordered[one, 1, : window // 2] = np.sort(ring[one, : window // 2])
            ordered[one, 2, : window // 2] = np.sort(ring[one, window // 2 :])


@numba.njit(cache=True)
def _reorder(ordered, count, old, new):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Let `new` take the place of `old` among sorted values, and keep them sorted."""
    place = 0
    while ordered[place] != old:
        place += 1
    while place + 1 < count and ordered[place + 1] < new:
        ordered[place] = ordered[place + 1]
        place += 1
    while place > 0 and ordered[place - 1] > new:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = new


@numba.njit(cache=True)
def _middle(ordered, count):  # type: ignore[no-untyped-def]  # pragma: no cover
    return 0.5 * (ordered[(count - 1) // 2] + ordered[count // 2])


@numba.njit(cache=True)
def _expect(ring, ordered, place, count, lag, fewest, work):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the lowest and highest value to expect after the last ones, its variance (in theirs), and their spread.

    There is no spread of fewer than `fewest` values. `work` (2, window) is room for them.
    """
    wrapped = max(count - place, 0)  # how many of them lie at the end of the ring
    for number in range(wrapped):
        work[0, number] = work[1, number] = ring[ring.size - wrapped + number]
    for number in range(wrapped, count):
        work[0, number] = work[1, number] = ring[place - count + number]
    half = count // 2
    if count == ring.size:
        level, older, newer = _middle(ordered[0], count), _middle(ordered[1], half), _middle(ordered[2], half)
    else:
        older, newer = _median(work[1], 0, half), _median(work[1], count - half, count)
        level = _median(work[1], 0, count)
    apart, ahead = count - half, 0.5 * (half + 1) + lag
    slope = (newer - older) / apart
    centre, course = newer - slope * (count - 0.5 * (half + 1)), newer + slope * ahead
    variance = MEDIAN_VARIANCE / half * (1 + lag) * ((1 + ahead / apart) ** 2 + (ahead / apart) ** 2)
    if count < fewest:
        return min(level, course), max(level, course), variance, 0.0
    for number in range(count):
        work[1, number] = abs(work[0, number] - centre - slope * number)
    return min(level, course), max(level, course), variance, 1.4826 * _median(work[1], 0, count)


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
def _advance(values, landmark, first, few, sided, group, pool, floor, state, numbers, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    fewest, fewest_after, start, lag = few
    ring, ordered, queue, scale, past, limit = state
    counts, pooled = numbers
    score, passed, middle, strong = out
    series = ring.shape[0]
    judged = np.zeros(series, np.bool_)
    common, variance = np.ones(series), np.ones(series)
    work = np.empty((2, ring.shape[1]))
    for row in range(values.shape[0]):
        block = first + row
        if landmark[row]:
            counts[:] = 0
            continue
        for one in range(series):
            count = counts[one, 0]
            judged[one] = np.isfinite(values[row, one]) and count >= (fewest_after if scale[one, 1] > 0 else fewest)
            if judged[one]:
                low, high, variance[one], spread = _expect(
                    ring[one], ordered[one], counts[one, 1], count, lag, fewest, work
                )
                middle[row, one] = min(max(values[row, one], low), high)
                if count >= fewest:
                    scale[one, 0] = spread + 1e-12
        _rescale(group, judged, counts, fewest, scale, common)
        for one in range(series):
            value, own = values[row, one], pool[one]
            if judged[one]:
                count = counts[one, 0]
                freedom = FREEDOM * max(count, fewest)
                long_run = common[one] * scale[one, 1]
                mixed = (freedom * scale[one, 0] ** 2 + PRIOR * long_run**2) / (freedom + PRIOR)
                spread = max(np.sqrt(mixed), floor[one]) * np.sqrt(1 + variance[one])
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
                _push(one, value, lag, ring, ordered, queue, counts)
