"""What rules have in common that judge blocks against the blocks before them (see `block_scan`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import param

from deeptracker.data_model.anomaly import Anomaly, Standing
from deeptracker.data_model.block_scan import BlockScan, Limits
from deeptracker.data_model.record_blocks import BLOCK
from deeptracker.data_model.rules.base import FollowedRule

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SLOW = 4
"""Blocks in a row whose average is watched for slow drifts."""


AFTER_LANDMARK = 4
"""Blocks after a landmark that are needed: two halves of two, for a course."""


class BlockRule(FollowedRule):
    """A rule that judges blocks of records, or validations, against those before them; its thresholds."""

    standing: ClassVar[Standing] = Standing.WEAK
    source: ClassVar[str] = (
        "Moderated robust z (Smyth 2004) beyond Student's t and the tail of its own past (Siffer et al. 2017)"
    )

    risk = param.Number(
        default=1e-5, bounds=(1e-12, 0.01), doc="False findings per record that are accepted, over all its series."
    )
    window = param.Integer(default=20, bounds=(8, 1000), doc="Blocks before that a block is compared with.")
    fewest = param.Integer(default=10, bounds=(4, 1000), doc="Blocks needed before the first one is judged.")
    start = param.Integer(default=32, bounds=(4, 100_000), doc="The first block that is judged.")

    sided: ClassVar[bool] = False
    whole: ClassVar[str] = "all layers"
    """The entity of what lies in no single one; its number is -1."""

    def limits(self, series: int, slow: bool = False) -> Limits:
        """Return the limits for one of `series` series."""
        risk = self.risk * BLOCK / max(series, 1)
        window, lag = (self.window * 2, SLOW - 1) if slow else (self.window, 0)
        return Limits(
            min(risk * SLOW / 2 if slow else risk, 0.05),
            window,
            self.fewest,
            AFTER_LANDMARK,
            self.start,
            lag,
            self.sided,
        )

    @abstractmethod
    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding from its strongest alarm."""

    def better(self, alarm: Alarm) -> bool:
        """Return whether what an alarm tells is no harm by itself."""
        return False


@dataclass(frozen=True)
class Alarm:
    """One block of one series that is far: its iterations, z and limit, and the value against the middle before."""

    entity: int
    block: int
    span: tuple[int, int]
    series: str
    z: float
    limit: float
    value: float
    middle: float
    strong: bool
    slow: bool

    @property
    def excess(self) -> float:
        """How many times its limit the score is."""
        return abs(self.z) / self.limit


@dataclass
class Watched:
    """Series side by side that are scanned together: (name, entity) of each column, fast or slow.

    `lasting` says that a slow one is of medians instead of means: three of four must be far, one alone is nothing.
    """

    rule: BlockRule
    names: Sequence[str]
    entities: Sequence[int]
    floors: Sequence[float]
    slow: bool = False
    lasting: bool = False
    scan: BlockScan = field(init=False)

    def __post_init__(self) -> None:
        order = {name: number for number, name in enumerate(dict.fromkeys(self.names))}
        groups = [order[name] for name in self.names]
        small = len(groups) < 5 * len(order)
        pools = [0] * len(groups) if small else groups
        self.scan = BlockScan(groups, pools, np.array(self.floors), self.rule.limits(len(groups), self.slow))
        self._recent = np.zeros((0, len(groups)))

    def judge(self, values: Floats, landmark: npt.NDArray[np.bool_], start: Ints, stop: Ints) -> list[Alarm]:
        """Judge the next blocks, (blocks, series) over iterations [start, stop) each."""
        watched = self._averages(values, landmark) if self.slow else values
        first = self.scan.block
        far = self.scan.advance(watched, landmark)
        return [
            Alarm(
                self.entities[series],
                int(block),
                (int(start[block - first]), int(stop[block - first])),
                self.names[series],
                float(far.z[at]),
                float(far.limit[at]),
                float(watched[block - first, series]),
                float(far.middle[at]),
                bool(far.strong[at]),
                self.slow,
            )
            for at, (block, series) in enumerate(zip(far.block.tolist(), far.series.tolist(), strict=True))
        ]

    def _averages(self, values: Floats, landmark: npt.NDArray[np.bool_]) -> Floats:
        """Return the means of the last four blocks since a landmark, NaN where there are fewer."""
        cleared = np.where(landmark[:, None], np.nan, values)
        joined = np.concatenate([np.full((max(SLOW - 1 - len(self._recent), 0), values.shape[1]), np.nan),
                                 self._recent, cleared])  # fmt: skip
        self._recent = joined[-(SLOW - 1) :].copy()
        windows = np.lib.stride_tricks.sliding_window_view(joined, SLOW, axis=0)
        return np.asarray(np.median(windows, axis=-1) if self.lasting else windows.mean(axis=-1))


class Findings:
    """Gathers alarms into anomalies: alarms of one entity in neighbouring blocks are one."""

    def __init__(self, rule: BlockRule) -> None:
        self._rule = rule
        self._open: dict[int, list[Alarm]] = {}
        self._done: list[Anomaly] = []

    def add(self, alarms: list[Alarm], entities: Sequence[str]) -> None:
        """Take all alarms of the next blocks, in any order; `entities` are the names by number."""
        for alarm in sorted(alarms, key=lambda one: one.block):
            together = self._open.get(alarm.entity)
            if together and alarm.block - together[-1].block > 1:
                self._done.append(self._anomaly(together, entities))
                together = None
            if not together:
                self._open[alarm.entity] = together = []
            together.append(alarm)

    def all(self, entities: Sequence[str]) -> list[Anomaly]:
        """Return everything found so far."""
        return [*self._done, *(self._anomaly(alarms, entities) for alarms in self._open.values())]

    def _anomaly(self, alarms: list[Alarm], entities: Sequence[str]) -> Anomaly:
        strongest = max(alarms, key=lambda one: one.excess)
        name = entities[strongest.entity] if strongest.entity >= 0 else self._rule.whole
        # Averages over four blocks have three in common with their neighbour: two of them are no second opinion.
        fast, slow = ([one.block for one in alarms if one.slow is kind] for kind in (False, True))
        again = len(set(fast)) > 1 or (len(slow) > 1 and max(slow) - min(slow) >= SLOW)
        standing = Standing.STRONG if again or any(one.strong for one in alarms) else self._rule.standing
        span = (alarms[0].span[0], alarms[-1].span[1])
        message = self._rule.say(name, strongest)
        better = self._rule.better(strongest)
        return self._rule.anomaly(name, strongest.entity, span, strongest.excess, message, standing, better)


def times(alarm: Alarm, logarithmic: bool = True) -> str:
    """Return in words how the value of an alarm lies to the middle before it."""
    if not logarithmic:
        return f"went from {alarm.middle:.3g} to {alarm.value:.3g}"
    return by_factor(alarm.value - alarm.middle)


def by_factor(difference: float) -> str:
    """Return in words what a difference of two logarithms says: by how much something rose or fell."""
    factor = float(np.exp(np.clip(difference, -50, 50)))
    if 0.5 < factor < 2:
        return f"{'rose' if factor >= 1 else 'fell'} by {100 * abs(factor - 1):.2g} %"
    return f"rose to {factor:.3g} times the level before" if factor > 1 else f"fell to 1/{1 / factor:.3g} of before"


def evidence(alarm: Alarm) -> str:
    """Return the numbers that a finding rests on."""
    return f"{abs(alarm.z):.1f} times its usual spread, at most {alarm.limit:.1f} expected"
