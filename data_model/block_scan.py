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

import numpy as np
import numpy.typing as npt
from scipy import stats

from deeptracker.data_model.block_kernel import FREEDOM, MANY, POOL, PRIOR, advance
from deeptracker.data_model.block_lanes import sorting_network
from deeptracker.data_model.tails import exceeded_with_risks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_POOLED = 100
TAIL_OF_MANY, TAIL_OF_FEW = 0.02, 0.05
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
        self._network = sorting_network(window // 2)
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
            advance(
                values[part],
                landmark[part],
                self.block,
                (limits.fewest, limits.fewest_after_landmark, limits.start, limits.lag),
                limits.sided,
                self._network,
                self._group,
                self._pool,
                self._floor,
                (self._ring, self._queue, self._scale, self._past, self._limit),
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
