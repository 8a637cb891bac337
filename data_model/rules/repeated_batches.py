"""A training loss that repeats with a short period: the same few batches come again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import param
from scipy import stats

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.record_blocks import AT_ONCE, BLOCK, whole_blocks
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.rules.loss_change import training_losses

Floats = npt.NDArray[np.float64]


class Repeats(NamedTuple):
    """A block of a loss that repeats: its number, its iterations [start, stop), the chance and the period."""

    block: int
    span: tuple[int, int]
    chance: float
    period: int


PERIODS = range(2, 17)
WINDOW = 2 * BLOCK
"""Records that are folded: at least four rounds of the longest period."""
FROM_START = 4
"""A loss that repeats from these first blocks on is meant to: the batches of a small set in a fixed order."""
STRONG, APART = 30.0, 3
"""How many times smaller a chance by itself is enough, and how many blocks in a row hold two windows apart."""


def chances(loss: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return how likely the clearest period of each window (windows, records) would be by chance, and that period.

    The windows are levelled by a line and folded at each period: phases of one differ by no more than their noise
    explains, by an F test, where nothing repeats (epoch folding). 1 where the loss is not all above 0 and finite.
    """
    records = loss.shape[1]
    known = np.all(np.isfinite(loss) & (loss > 0), axis=1)
    values = np.log(np.where(known[:, None], loss, 1.0))
    line = np.linalg.qr(np.stack([np.ones(records), np.arange(records)], axis=1))[0]
    values -= values @ line @ line.T
    total, found = (values**2).sum(axis=1), []
    for period in PERIODS:
        phase = np.arange(records) % period == np.arange(period)[:, None]
        between = ((values @ phase.T) ** 2 / phase.sum(axis=1)).sum(axis=1)
        within = np.maximum(total - between, 1e-12 * total + 1e-300)
        ratio = between / (period - 1) / (within / (records - period))
        found.append(stats.f.sf(ratio, period - 1, records - period))
    least = np.array(found)
    return np.where(known, least.min(axis=0), 1.0), np.array(PERIODS)[least.argmin(axis=0)]


class RepeatedBatches(FollowedRule):
    """The loss repeats every few iterations: the data are stuck on a few batches, or training swings in step.

    A loss that has done so from the beginning is meant to: that tells of an episode, and makes none.
    """

    name = param.String(default="repeated_batches", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Repeated batches"
    source: ClassVar[str] = "Epoch folding (Leahy et al. 1983): an F test of the loss by phase, for periods of 2 to 16"
    standing: ClassVar[Standing] = Standing.WEAK

    risk = param.Number(
        default=1e-5, bounds=(1e-12, 0.01), doc="False findings per record that are accepted, over all periods."
    )

    def follow(self) -> _FoldWatch:
        """Return what follows a growing run."""
        return _FoldWatch(self)

    @property
    def limit(self) -> float:
        """The chance of one period in one window below which it is found."""
        return self.risk * BLOCK / len(PERIODS)

    def told(self, loss: str, index: int, blocks: Sequence[Repeats]) -> Anomaly:
        """Return blocks side by side that repeat as one finding."""
        first, last = blocks[0].block, blocks[-1].block
        clearest = min(blocks, key=lambda one: one.chance)
        chance, period = clearest.chance, clearest.period
        clear, lasting = chance < self.limit / STRONG, last - first + 1 >= APART
        standing = Standing.CERTAIN if clear and lasting else Standing.STRONG if clear or lasting else self.standing
        standing = Standing.WITNESS if first <= FROM_START else standing
        message = (
            f"{loss} repeats every {period} iterations: the same batches again and again, or a swing in step "
            f"(a chance of {chance:.0e}, at least {self.limit:.0e} expected)"
        )
        span = (blocks[0].span[0], blocks[-1].span[1])
        score = float(np.log(max(chance, 1e-300)) / np.log(self.limit))
        return self.anomaly(loss, index, span, score, message, standing)


class _FoldWatch:
    def __init__(self, rule: RepeatedBatches) -> None:
        self._rule = rule
        self._next: dict[str, int] = {}
        self._hits: dict[str, list[Repeats]] = {}

    def update(self, run: RunData) -> list[Anomaly]:
        """Look at the blocks completed since the last call; return everything found so far."""
        stop = whole_blocks(int(run.scalars.sizes["iteration"])) if run.scalar_names else 0
        found = []
        for name in training_losses(run):
            first = self._next.get(name, 1)  # a window is a block and the one before it
            while first < stop:
                last = min(stop, first + AT_ONCE)
                self._look(run, name, first, last)
                first = self._next[name] = last
            index = list(run.scalar_names).index(name)
            joined = _joined(self._hits.get(name, []))
            found += [self._rule.told(name, index, blocks) for blocks in joined]
        return found

    def _look(self, run: RunData, name: str, first: int, stop: int) -> None:
        part = run.scalars[name].isel(iteration=slice((first - 1) * BLOCK, stop * BLOCK))
        values = np.asarray(part.values, np.float64)
        chance, period = chances(np.lib.stride_tricks.sliding_window_view(values, WINDOW)[::BLOCK])
        hits = self._hits.setdefault(name, [])
        for at in np.flatnonzero(chance < self._rule.limit).tolist():
            ends = part["iteration"][[(at + 1) * BLOCK, (at + 2) * BLOCK - 1]].values.tolist()
            hits.append(Repeats(first + at, (ends[0], ends[1] + 1), float(chance[at]), int(period[at])))


def _joined(hits: Sequence[Repeats]) -> list[list[Repeats]]:
    """Gather blocks with at most one between them."""
    parts: list[list[Repeats]] = []
    for one in hits:
        if not parts or one.block - parts[-1][-1].block > 2:
            parts.append([])
        parts[-1].append(one)
    return parts
