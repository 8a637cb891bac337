"""Watches series of all layers of a growing run: what each layer does on its own, or what they do together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.anomaly import Anomaly
from deeptracker.data_model.block_rule import BlockRule, Findings, Watched
from deeptracker.data_model.layer_series import LEARNING_RATE, Series, middle_mean
from deeptracker.data_model.learning_rate_track import LearningRateTrack
from deeptracker.data_model.record_blocks import AT_ONCE, BLOCK, Blocks, read_blocks, whole_blocks
from deeptracker.data_model.rules.base import RunData
from deeptracker.data_model.vocabulary import LAYERS

Floats = npt.NDArray[np.float64]


class LayerWatch:
    """Follows one run; `together` watches the middle of all layers, otherwise each layer's distance from it."""

    def __init__(self, rule: BlockRule, series: Sequence[Series], together: bool) -> None:
        self._rule, self._all_series, self._together = rule, series, together
        self._layers = -1
        self._begin(())

    def _begin(self, layers: Sequence[str]) -> None:
        """Start from the first record: at first, and again when layers have joined."""
        self._names, self._layers = list(layers), len(layers)
        self._track = LearningRateTrack()
        self._findings = Findings(self._rule)
        self._series: list[Series] = []
        self._watched: list[Watched] = []
        self._last: dict[str, Floats] = {}
        self._block = 0

    def _choose(self, run: RunData) -> None:
        """Take the series that the run has the statistics for."""
        known = {one.name for one in run.layer_statistics} | {LEARNING_RATE}
        self._series = [one for one in self._all_series if known.issuperset(one.needs)]
        fast = self._series
        slow = [one for one in self._series if one.slow]
        self._watched = [self._watch(part, is_slow) for part, is_slow in ((fast, False), (slow, True)) if part]

    def _watch(self, series: Sequence[Series], slow: bool) -> Watched:
        entities = [-1] if self._together else list(range(self._layers))
        names = [one.name for one in series for _ in entities]
        floors = [one.floor for one in series for _ in entities]
        return Watched(self._rule, names, entities * len(series), floors, slow)

    def update(self, run: RunData) -> list[Anomaly]:
        """Judge the new blocks; return everything found so far."""
        layers = [layer.name for layer in run.layer_list]
        if len(layers) != self._layers:
            self._begin(layers)
            self._choose(run)
        records = run.layers.sizes.get("iteration", 0)
        stop = whole_blocks(records)
        if self._series and stop > self._block:
            iteration = np.asarray(run.layers["iteration"].values, np.int64)
            self._track.update(run)
            stop = min(stop, whole_blocks(int(np.searchsorted(iteration, self._track.stop, "left"))))
            for first, last in _portions(self._block, stop):
                self._judge(run, iteration, first, last)
            self._block = max(stop, self._block)
        return self._findings.all(self._names)

    def _judge(self, run: RunData, iteration: npt.NDArray[np.int64], first: int, stop: int) -> None:
        edges = np.arange(first, stop + 1) * BLOCK
        starts = iteration[edges[:-1]]
        stops = np.append(iteration[edges[1:-1]], iteration[edges[-1] - 1] + 1)
        rate, landmark = self._track.of_spans(starts, stops)
        read: dict[str, Blocks] = {LEARNING_RATE: Blocks(rate[:, None], rate[:, None], rate[:, None])}
        for name in dict.fromkeys(need for one in self._series for need in one.needs if need != LEARNING_RATE):
            read[name] = read_blocks(run, LAYERS, name, iteration, first, stop)
        values = {one.name: self._values(one, read) for one in self._series}
        alarms = []
        for watched in self._watched:
            columns = np.concatenate([values[name] for name in dict.fromkeys(watched.names)], axis=1)
            alarms += watched.judge(columns, landmark, starts, stops)
        self._findings.add(alarms, self._names)

    def _values(self, series: Series, read: dict[str, Blocks]) -> Floats:
        """Return a series of blocks (blocks, layers), or (blocks, 1) of what they have in common."""
        level = series.derive(read)
        if series.increments:
            before = self._last.get(series.name, np.full((1, level.shape[1]), np.nan))
            self._last[series.name] = level[-1:]
            level = np.diff(np.concatenate([before, level]), axis=0)
        middle = middle_mean(level)
        return middle if self._together else level - middle


def _portions(first: int, stop: int) -> Iterator[tuple[int, int]]:
    while first < stop:
        last = min(stop, (first // AT_ONCE + 1) * AT_ONCE)
        yield first, last
        first = last
