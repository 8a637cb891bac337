"""A face of the cube that shows every event by itself, at screen resolution, down to the single image or filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deeptracker.app import event_raster
from deeptracker.app.compiled import ready
from deeptracker.app.face_plot import FacePlot, shaded
from deeptracker.app.later import in_order
from deeptracker.app.wall.pacing import Pacer
from deeptracker.data_model.correlation import Occurrences

Window = tuple[int, int]
FAINTEST_EVENT = 150
"""The shade of a single event: it is a few pixels small, and must be seen."""


class EventFace:
    """Draws the events given to `show` on a face, again whenever its rows are zoomed or its size changes.

    `on_drawn(highest)` hears of the most events at one pixel.
    """

    def __init__(self, face: FacePlot) -> None:
        self.face = face
        self.redraws = 0
        self.on_drawn: Callable[[int], None] | None = None
        self.highest = 0
        self._events: Occurrences | None = None
        self._offset: npt.NDArray[np.float64] = np.empty(0)
        self._window: Window = (0, 1)
        self._extra: dict[str, Any] = {}
        self._size = (0, 0)
        self.pacer = Pacer(in_order(self._draw), self._timers)
        for end in ("start", "end"):
            face.y.range.on_change(end, self._moved)
        for side in ("inner_width", "inner_height"):
            face.figure.on_change(side, self._resized)

    def show(self, events: Occurrences, row_of_member: npt.NDArray[np.int64], window: Window, **extra: Any) -> None:
        """Draw the events of iterations [start, stop) now; `extra` are arrays for the hover, as of `set_tile`."""
        if self._events is not events:
            self._events, self._offset = events, event_raster.offsets(row_of_member, len(self.face.y.names))
        self._window, self._extra = window, extra
        self._draw()

    def hide(self) -> None:
        """Draw nothing any more: the face shows something else."""
        self._events = None

    def nearest(self, x: float, y: float) -> tuple[int, int, int] | None:
        """Return (row, member, iteration) of the event at a place, None where there is none close by."""
        if self._events is None or min(self._size) < 2:
            return None
        low, high = self._rows
        pixel = ((self._window[1] - self._window[0]) / self._size[0], (high - low) / self._size[1])
        return event_raster.nearest(self._events, self._offset, self.face.y.sign, (x, y), pixel)

    @property
    def _rows(self) -> tuple[float, float]:
        low: Any = self.face.y.range.start
        high: Any = self.face.y.range.end
        return (float(low), float(high))

    def _timers(self) -> Any:
        document = self.face.figure.document
        return document if document is not None and document.session_context is not None else None

    def _moved(self, attr: str, old: Any, new: Any) -> None:
        if self._events is not None:
            self.pacer.request()

    def _resized(self, attr: str, old: Any, new: Any) -> None:
        width, height = self._size
        self._size = (int(new or 0), height) if attr == "inner_width" else (width, int(new or 0))
        self._moved(attr, old, new)

    def _draw(self) -> bool:
        drawable = self._events is not None and min(self._size) >= 2
        if self._events is not None and drawable and ready(self._timers(), self.pacer.request):
            low, high = self._rows
            counts = event_raster.raster(
                self._events, self._offset, self.face.y.sign, self._window, (low, high), self._size
            )
            self.highest = int(counts.max(initial=0))
            shades = shaded(counts.astype(np.float32), max(self.highest, 1), FAINTEST_EVENT)
            # A tile begins with its first row, which is the lowest or the highest on screen.
            ordered = shades if self.face.y.sign > 0 else shades[::-1]
            first, stop = self._window
            self.face.set_tile(ordered, (first, low, stop - first, high - low), **self._extra)
            self.redraws += 1
            if self.on_drawn is not None:
                self.on_drawn(self.highest)
        return False  # the browser acknowledges nothing here, so nothing is waited for
