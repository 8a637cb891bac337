"""The one iteration axis that all plots of a session share, and its tie to the selection's window."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.models import Range1d

from deeptracker.app.later import in_order, on_page
from deeptracker.data_model.selection import Selection

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

Window = tuple[int, int]

LEAST_INTERVAL = 4
"""Iterations that stay on screen at the deepest zoom."""
FIRST_DELAY, NEXT_DELAY = 12, 60
"""Milliseconds from a change in the browser to the redraw: after an idle start, and during a gesture."""
NEWS_SECONDS = 1.0
"""How long a browser may take to hear that the run has grown."""


def extent(iterations: Window) -> Window:
    """Return the iterations [start, stop) an axis can show; an empty run gets room for one iteration."""
    first, stop = iterations
    return (int(first), max(int(stop), int(first) + 1))


def clamped(window: tuple[float, float], whole: Window) -> Window:
    """Return the window snapped outward to whole iterations, moved into `whole` and not too short to draw."""
    start, stop = sorted(window)
    first, last = whole
    least = min(LEAST_INTERVAL, last - first)
    low = min(max(first, math.floor(start)), last - least)
    return (low, max(low + least, min(last, math.ceil(stop))))


def _ending_at(window: Window, whole: Window) -> Window:
    """Return a window of the same width at the end of `whole`."""
    return (max(whole[0], whole[1] - (window[1] - window[0])), whole[1])


class Axes:
    """Owns `iterations`, the Bokeh range every figure of the session takes as its `x_range`.

    The browser's changes of its two ends become one update of `selection.window`; changes of the window from
    anywhere else (a link, a click, a brush) move the range. What the browser sent is never sent back to it.
    A live run moves the range only where it ends at the newest iteration and `selection.follow` is on: the whole run
    grows, a part of it slides along at its width. Meanwhile `growing` is set: nobody has moved anything.
    """

    def __init__(self, run: Run, selection: Selection) -> None:
        self.run, self.selection = run, selection
        self.whole = self._before = extent(run.iterations)
        self._waiting = self._moving = self._from_browser = False
        self.growing = False
        self._flushed = self._grown = 0.0
        start, stop = self.window
        self.iterations = Range1d(start=start, end=stop, name="iterations")
        self._bound()
        self.iterations.on_change("start", self._changed)
        self.iterations.on_change("end", self._changed)
        self._watchers = [
            (selection, selection.param.watch(self._follow_selection, ["window"])),
            (selection, selection.param.watch(self._follow_toggled, ["follow"])),
            (run, run.param.watch(lambda event: on_page(self.grow), ["version"])),
        ]

    @property
    def window(self) -> Window:
        """The iterations [start, stop) on screen."""
        chosen = self.selection.window
        return self.whole if chosen is None else clamped(chosen, self.whole)

    def show(self, window: tuple[float, float] | None) -> None:
        """Bring iterations [start, stop) on screen in every view; None: the whole run."""
        self.selection.window = None if window is None else clamped(window, self.whole)

    def grow(self) -> None:
        """Take over how far the run has come; the range moves only where it ends at the newest iteration."""
        whole = extent(self.run.iterations)
        if whole == self.whole:
            return
        at_newest, window = self.at_newest, self.window
        self._before, self.whole, self._grown = self.whole, whole, time.monotonic()
        self._bound()
        part = self.selection.window is not None
        if part and at_newest and self.selection.follow and not self._waiting:
            self.growing = True
            try:
                self.selection.window = _ending_at(window, whole)
            finally:
                self.growing = False
            return
        # The browser's ends lie between iterations: a window that stays as it is must not be snapped under the mouse.
        if not self._waiting and self.window != self.selection.window:
            self._move()

    @property
    def at_newest(self) -> bool:
        """Whether what is on screen ends at the newest iteration."""
        return self.window[1] >= self.whole[1]

    def to_newest(self) -> None:
        """Bring the newest iterations on screen, as many as are on it now, and stay with them."""
        moved = None if self.selection.window is None else _ending_at(self.window, self.whole)
        self.selection.param.update(follow=True, window=moved)

    def close(self) -> None:
        """Stop watching the run and the selection."""
        for owner, watcher in self._watchers:
            owner.param.unwatch(watcher)
        self._watchers = []

    def _bound(self) -> None:
        first, stop = self.whole
        self.iterations.update(
            bounds=(first, stop),
            min_interval=min(LEAST_INTERVAL, stop - first),
            reset_start=first,
            reset_end=stop,
        )

    def _move(self) -> None:
        start, stop = self.window
        if (self.iterations.start, self.iterations.end) != (start, stop):
            self._moving = True
            try:
                self.iterations.update(start=start, end=stop)
            finally:
                self._moving = False

    def _changed(self, attr: str, old: Any, new: Any) -> None:
        if self._moving or self._waiting:
            return
        self._waiting = True
        idle = time.monotonic() - self._flushed > 4 * NEXT_DELAY / 1000
        delay = FIRST_DELAY if idle else NEXT_DELAY
        document = self.iterations.document
        if document is not None and document.session_context is not None:
            document.add_timeout_callback(in_order(self._flush), delay)
            return
        try:  # in a notebook there is no document session, but mostly a running loop
            asyncio.get_running_loop().call_later(delay / 1000, self._flush)
        except RuntimeError:
            self._flush()

    def _flush(self) -> None:
        """Make one window of the two ends the browser moved."""
        self._waiting = False
        window = clamped((self._end("start"), self._end("end")), self.whole)
        # The browser may not yet know how far the run has come: the end it knew counts as the end.
        news = time.monotonic() - self._grown < NEWS_SECONDS and window[1] <= self._before[1]
        known = self._before if news else self.whole
        everything = window[0] <= self.whole[0] and window[1] >= known[1]
        whole_run = everything and self.selection.follow
        behind = window[1] >= known[1] > window[0] and window[1] < self.whole[1] and self.selection.follow
        if behind and not whole_run:
            window = _ending_at(window, self.whole)
        self._tell(None if whole_run else window)
        if whole_run or behind:
            self._move()
        self._flushed = time.monotonic()

    def _tell(self, window: Window | None) -> None:
        if window == self.selection.window:
            return
        self._from_browser = True
        try:
            with pn.io.hold():
                self.selection.window = window
        finally:
            self._from_browser = False

    def _end(self, name: str) -> float:
        value: Any = getattr(self.iterations, name)
        return float(value)

    def _follow_selection(self, event: Any) -> None:
        if not self._from_browser:
            on_page(self._move)

    def _follow_toggled(self, event: Any) -> None:
        if self.window == self.whole:
            self.selection.window = None if event.new else self.whole
