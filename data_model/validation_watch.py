"""Watches series of a growing run that have one value per validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.anomaly import Anomaly
from deeptracker.data_model.block_rule import BlockRule, Findings, Watched
from deeptracker.data_model.learning_rate_track import LearningRateTrack
from deeptracker.data_model.rules.base import RunData

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST = 0.01
"""Added to a probability and to what it lacks of 1, so that its odds stay finite."""


def log_odds(probability: Floats) -> Floats:
    """Return ln(p / (1 - p)), of probabilities moved inward a little."""
    return np.asarray(np.log((probability + LEAST) / (1 + LEAST - probability)))


def per_validation(run: RunData, family: str, variable: str, since: int) -> tuple[Ints, Ints, Floats]:
    """Return start, stop and value (validations, entities) of a derived series, from iteration `since` on."""
    window = (since, max(run.iterations[1], since + 1))
    found = run.query(variable, family=family, iterations=window, buckets=10**9)
    values = np.asarray(found["mean"].values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    return np.asarray(found["start"].values, np.int64), np.asarray(found["stop"].values, np.int64), values


class ValidationWatch:
    """Follows one run: `read` returns the values of validations from an iteration on, (validations, series).

    `names` and `floor` are those of the series; with `entities` each series is one of them, else they are all of
    entity `single`.
    """

    def __init__(
        self,
        rule: BlockRule,
        read: Callable[[RunData, int], tuple[Ints, Ints, Floats]],
        names: Callable[[RunData], Sequence[str]],
        entities: Callable[[RunData], Sequence[str]],
        floor: float,
        shared: bool,
    ) -> None:
        self._rule, self._read, self._series, self._entities = rule, read, names, entities
        self._floor, self._shared = floor, shared
        self._known: list[str] = []
        self._begin([])

    def _begin(self, entities: Sequence[str]) -> None:
        self._known, self._next, self._last = list(entities), 0, -1
        self._track, self._findings = LearningRateTrack(), Findings(self._rule)
        self._watched: list[Watched] = []

    def update(self, run: RunData) -> list[Anomaly]:
        """Judge the new validations; return everything found so far."""
        entities = list(self._entities(run))
        if entities != self._known:
            self._begin(entities)
        if not entities or run.iterations[1] <= self._next:
            return self._findings.all(entities)
        start, stop, values = self._read(run, self._next)
        self._track.update(run)
        new = (start >= self._next) & (start <= self._track.stop)
        start, stop, values = start[new], stop[new], values[new]
        if len(start) and values.shape[1]:
            if not self._watched:
                self._watched = [self._watch(run, values.shape[1], slow) for slow in (False, True)]
            before = np.append(start[0] if self._next == 0 else self._last, start[:-1])
            _, landmark = self._track.of_spans(before, start + 1)
            alarms = [alarm for one in self._watched for alarm in one.judge(values, landmark, start, start + 1)]
            self._findings.add(alarms, entities)
            self._next, self._last = int(start[-1]) + 1, int(start[-1])
        return self._findings.all(entities)

    def _watch(self, run: RunData, series: int, slow: bool) -> Watched:
        numbers = list(range(series)) if not self._shared else [-1] * series
        return Watched(self._rule, list(self._series(run)), numbers, [self._floor] * series, slow, lasting=True)
