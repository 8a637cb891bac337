"""The level of a loss changes: upward or downward, for many iterations or for a few."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, Findings, Watched, evidence, times
from deeptracker.data_model.layer_series import log
from deeptracker.data_model.learning_rate_track import LearningRateTrack
from deeptracker.data_model.record_blocks import AT_ONCE, BLOCK, read_blocks, whole_blocks
from deeptracker.data_model.rules.base import RunData
from deeptracker.data_model.vocabulary import SCALARS

FLOOR = 0.03
WORDS = {"mean": "{} {}", "max": "the largest {} of a block {}"}


def training_losses(run: RunData) -> list[str]:
    """Return the scalars that are a loss of the training."""
    return [name for name in run.scalar_names if "loss" in name.lower() and "val" not in name.lower()]


class LossChange(BlockRule):
    """The loss of a block of iterations is far from that of the blocks before it."""

    name = param.String(default="loss_change", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Loss off its level"

    def follow(self) -> LossWatch:
        """Return what follows a growing run."""
        return LossWatch(self)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        return f"{WORDS[alarm.series].format(entity, times(alarm))} ({evidence(alarm)})"

    def better(self, alarm: Alarm) -> bool:
        """Return whether the loss fell."""
        return alarm.z < 0


class LossWatch:
    """Watches mean and largest loss of each block of a growing run."""

    def __init__(self, rule: LossChange) -> None:
        self._rule, self._track, self._findings = rule, LearningRateTrack(), Findings(rule)
        self._block: dict[str, int] = {}
        self._watched: dict[str, list[Watched]] = {}

    def update(self, run: RunData) -> list[Anomaly]:
        """Judge the new blocks; return everything found so far."""
        iteration = np.asarray(run.scalars["iteration"].values, np.int64) if run.scalar_names else np.zeros(0, np.int64)
        stop = whole_blocks(len(iteration))
        self._track.update(run)
        for name in training_losses(run):
            if name not in self._watched:
                fast = Watched(self._rule, ["mean", "max"], [run.scalar_names.index(name)] * 2, [FLOOR] * 2)
                slow = Watched(self._rule, ["mean"], [run.scalar_names.index(name)], [FLOOR], slow=True)
                self._watched[name], self._block[name] = [fast, slow], 0
            while self._block[name] < stop:
                first = self._block[name]
                self._block[name] = min(stop, (first // AT_ONCE + 1) * AT_ONCE)
                self._judge(run, name, iteration, first, self._block[name])
        return self._findings.all(run.scalar_names)

    def _judge(self, run: RunData, name: str, iteration: np.ndarray, first: int, stop: int) -> None:
        edges = np.arange(first, stop + 1) * BLOCK
        starts, stops = iteration[edges[:-1]], iteration[edges[1:] - 1] + 1
        blocks = read_blocks(run, SCALARS, name, iteration, first, stop)
        values = np.concatenate([blocks.mean, blocks.max], axis=1)
        values = np.where(values > 0, log(values), np.nan)
        _, landmark = self._track.of_spans(starts, stops)
        fast, slow = self._watched[name]
        alarms = fast.judge(values, landmark, starts, stops) + slow.judge(values[:, :1], landmark, starts, stops)
        self._findings.add(alarms, run.scalar_names)
