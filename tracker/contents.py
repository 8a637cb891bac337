"""What a run is recorded of: its layers, and the statistics of every family, with the columns they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.vocabulary import Layer, Statistic
from deeptracker.tracker.activations import ACTIVATION_STATISTICS
from deeptracker.tracker.own import OwnStatistic
from deeptracker.tracker.statistics import FILTER_ENTRIES, LAYER_ENTRIES, Entry
from deeptracker.tracker.totals import FILTER_COLUMNS, LAYER_COLUMNS, Float64, Totals


@dataclass(frozen=True)
class Contents:
    """Layers in network order, and the entries of statistics of layers and filters.

    Tables of layers have `layer_columns` columns, those of filters `filter_columns`: the kernel's, and behind them one
    for each of the user's own statistics.
    """

    layers: tuple[Layer, ...]
    layer_entries: tuple[Entry, ...]
    filter_entries: tuple[Entry, ...]
    layer_columns: int
    filter_columns: int
    activations: tuple[Statistic, ...]

    @property
    def filters(self) -> int:
        """Number of filters of all layers."""
        return sum(layer.filters for layer in self.layers)

    @property
    def layer_statistics(self) -> list[Statistic]:
        """What is recorded of every layer."""
        return [entry.statistic for entry in self.layer_entries]

    @property
    def filter_statistics(self) -> list[Statistic]:
        """What is recorded of every filter."""
        return [entry.statistic for entry in self.filter_entries]


def contents(layers: Iterable[Layer], own: Sequence[OwnStatistic], activations: bool) -> Contents:
    """Return the contents of a run; RecordingError where two statistics have one name."""
    per_layer = [one for one in own if one.per == "layer"]
    per_filter = [one for one in own if one.per == "filter"]
    found = Contents(
        tuple(layers),
        (*LAYER_ENTRIES, *(_entry(one, LAYER_COLUMNS + number) for number, one in enumerate(per_layer))),
        (*FILTER_ENTRIES, *(_entry(one, FILTER_COLUMNS + number) for number, one in enumerate(per_filter))),
        LAYER_COLUMNS + len(per_layer),
        FILTER_COLUMNS + len(per_filter),
        ACTIVATION_STATISTICS if activations else (),
    )
    for listed in ([*found.layer_statistics, *ACTIVATION_STATISTICS], found.filter_statistics):
        names = [one.name for one in listed]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RecordingError(f"Two statistics are called {twice[0]!r}: give yours another name.")
    return found


def _entry(own: OwnStatistic, column: int) -> Entry:
    def read(totals: Totals) -> Float64:
        return totals.column(column)

    return Entry(own.statistic, read, measured=True)
