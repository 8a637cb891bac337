"""Keeps what a wall last asked of its source, so that only a new place asks again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptracker.app.wall.columns import Columns, to_columns
from deeptracker.app.wall.compose import Picture, Viewport, compose_states, compose_values
from deeptracker.app.wall.layout import Layout, Row
from deeptracker.app.wall.source import Envelope, EnvelopeSource, Flags, PoolingSource, StateSource, WallSource

WHOLE = 600
"""Entities up to which all rows are asked for at once, so that zooming rows asks for nothing."""
MOST_CELLS = 4_000_000
"""Rows times columns up to which a picture keeps the screen's own columns; beyond, its columns are wider."""
FEWEST_COLUMNS = 200


@dataclass(frozen=True)
class Rows:
    """The rows a wall shows: their layout, which of them are selected, and how they are scaled."""

    layout: Layout
    selected: Flags
    common: bool = False
    logarithmic: bool = False
    logarithmic_entities: frozenset[int] = frozenset()

    def scale_is_logarithmic(self, begin: int, end: int) -> Flags:
        """Return for each row [begin, end) whether it is drawn on a logarithmic scale."""
        few, rows = self.logarithmic_entities, self.layout.rows[begin:end]
        return np.array([self.logarithmic or not few.isdisjoint(row.entities) for row in rows], np.bool_)


class Feed:
    """Fetches and composes; remembers the last data and the layout they belong to."""

    def __init__(self, source: WallSource) -> None:
        self.source = source
        self.fetched = 0
        self._key: Any = None
        self._first = self._last = 0
        self._data: Any = None
        self._columns: Columns | None = None

    def forget(self) -> None:
        """The source has something new: ask again next time."""
        self._key = None

    def picture(self, rows: Rows, view: Viewport) -> Picture:
        """Compose what is on screen."""
        if isinstance(self.source, StateSource):
            return self._states(self.source, rows, view)
        self._fetch(self.source, rows, view)
        lines = np.ascontiguousarray(rows.layout.lines[self._first :])
        columns = self._columns
        assert columns is not None
        count = columns.flags.shape[0]
        selected = np.ascontiguousarray(rows.selected[self._first : self._first + count])
        return compose_values(columns, view, selected, lines[:count], self._first, rows.common)

    def envelope_row(self, row: int) -> tuple[Envelope, int] | None:
        """Return the buckets last drawn, and the position of a row of the layout in them."""
        if not isinstance(self._data, Envelope) or not 0 <= row - self._first < len(self._data.low):
            return None
        return self._data, row - self._first

    def states_row(self, row: int) -> tuple[Any, list[int]] | None:
        """Return the states last drawn, and the positions of a row's entities in them."""
        if self._data is None or isinstance(self._data, Envelope):
            return None
        states, members = self._data
        return (states, list(members[row])) if 0 <= row < len(members) else None

    def _fetch(self, source: EnvelopeSource, rows: Rows, view: Viewport) -> None:
        layout = rows.layout
        begin, end = view.rows(len(layout.rows))
        if sum(len(row.entities) for row in layout.rows) <= WHOLE:
            begin, end = 0, len(layout.rows)
        count = sum(len(row.entities) for row in layout.rows[begin:end])
        width = max(1, min(view.width, max(FEWEST_COLUMNS, MOST_CELLS // max(1, count))))
        key = (id(layout), view.first, view.last, width, rows.logarithmic, rows.logarithmic_entities)
        if key == self._key and self._first <= begin and end <= self._last:
            return  # zooming into rows asks for nothing
        shown = layout.rows[begin:end]
        first, last = math.floor(view.first), max(math.floor(view.first) + 1, math.ceil(view.last))
        self.fetched += 1
        envelope = _read(source, shown, (first, last), width) if count else Envelope.empty(0)
        logarithmic = rows.scale_is_logarithmic(begin, end)
        self._columns = to_columns(envelope, view.first, view.last, width, logarithmic)
        self._key, self._data, self._first, self._last = key, envelope, begin, end

    def _states(self, source: StateSource, rows: Rows, view: Viewport) -> Picture:
        layout = rows.layout
        key = id(layout)
        if key != self._key:
            entities = np.array([entity for row in layout.rows for entity in row.entities], np.int32)
            counts = np.cumsum([0, *(len(row.entities) for row in layout.rows)])
            members = [range(counts[row], counts[row + 1]) for row in range(len(layout.rows))]
            self._data = (source.states(entities), members)
            self._key, self.fetched = key, self.fetched + 1
        states, members = self._data
        return compose_states(states, members, view, rows.selected, layout.lines)


def _read(source: EnvelopeSource, shown: Sequence[Row], iterations: tuple[int, int], columns: int) -> Envelope:
    """Ask for rows of one entity each, or for rows of several where a group is folded."""
    members = [row.entities for row in shown]
    if all(len(one) == 1 for one in members):
        return source.envelope(np.array(members, np.int32)[:, 0], iterations, columns)
    if not isinstance(source, PoolingSource):
        raise TypeError(f"{type(source).__name__} has no method `pooled`, and so its rows cannot be folded into one.")
    return source.pooled(members, iterations, columns)
