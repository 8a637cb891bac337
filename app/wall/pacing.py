"""When to draw: at once after a pause, seldom during a gesture, and never while the browser digests a picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

FIRST, QUIET, LONGEST = 0.012, 0.060, 0.300
"""Seconds to a redraw: after an idle start, after the last change of a gesture, and at most during one."""
IDLE = 0.250
"""Seconds without a change after which the next one is the start of a gesture."""
LOST = 0.500
"""Seconds after which a picture that the browser has not acknowledged no longer holds up the next one."""


class Timers(Protocol):
    """What a Bokeh document offers for doing something later."""

    def add_timeout_callback(self, callback: Callable[[], None], timeout_milliseconds: int) -> Any:
        """Call back once after so many milliseconds."""
        ...

    def remove_timeout_callback(self, callback_obj: Any) -> None:
        """Forget a callback that has not been called yet."""
        ...


class Pacer:
    """Calls `draw` for a stream of requests: coalesced, and only one picture on its way at a time.

    `timers` returns where to wait, or None where nothing can (a notebook, a test): there every request draws.
    """

    def __init__(self, draw: Callable[[], bool], timers: Callable[[], Timers | None]) -> None:
        self._draw, self._timers = draw, timers
        self._timer: tuple[Timers, Any] | None = None
        self._first: float | None = None
        self._changed = self._sent = float("-inf")
        self._in_flight = False

    def request(self) -> None:
        """Ask for a redraw soon."""
        timers = self._timers()
        if timers is None:
            self._draw()
            return
        now = time.monotonic()
        idle = now - self._changed > IDLE
        self._first = now if self._first is None else self._first
        self._changed = now
        self._wait(timers, now + FIRST if idle else min(now + QUIET, self._first + LONGEST))

    def acknowledge(self) -> None:
        """The browser shows the last picture: the next one may go."""
        self._in_flight = False
        timers = self._timers()
        if timers is not None and self._first is not None and self._timer is None:
            now = time.monotonic()
            self._wait(timers, min(max(now, self._changed + QUIET), max(now, self._first + LONGEST)))

    def _wait(self, timers: Timers, until: float) -> None:
        self.stop()
        delay = max(1, round(1000 * (until - time.monotonic())))
        self._timer = (timers, timers.add_timeout_callback(self._flush, delay))

    def stop(self) -> None:
        """Forget what is waiting."""
        if self._timer is not None:
            timers, handle = self._timer
            self._timer = None
            timers.remove_timeout_callback(handle)

    def _flush(self) -> None:
        self._timer = None
        now = time.monotonic()
        if self._in_flight:
            if now - self._sent < LOST:
                timers = self._timers()
                if timers is not None:  # should the acknowledgement be lost, this draws nevertheless
                    self._wait(timers, self._sent + LOST)
                return
            self._in_flight = False
        self._first = None
        if self._draw():
            self._in_flight, self._sent = True, now
