"""Following a run that is being recorded: new data at regular times, and a mark of how fresh the page is."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import panel as pn
import param

from deeptracker.app.later import sent_in_order
from deeptracker.app.session import Session
from deeptracker.app.words import ago
from deeptracker.data_model.errors import DeepTrackerError, NotARunError, RunReplacedError

logger = logging.getLogger("deeptracker")

PERIOD = 1500
"""Milliseconds between looks at a run that is being recorded."""
SLOWER = 6
"""A run that is not being recorded is looked at this many times less often: it may be resumed."""
LATE_SECONDS = 20.0
"""A recording that has brought nothing for this long is said to have stalled..."""
LATE_GAPS = 3.0
"""...or, where it never came as often as that, for so many times the longest of its last gaps."""
GAPS = 8

GONE = (
    "Its files were deleted or moved. What is on screen was read before, but nothing more of it can be read. "
    "If the run comes back to its place, this page goes on."
)


@dataclass(frozen=True)
class Freshness:
    """How fresh the page is, in words.

    `state` is "recording", "waiting", "closed", "interrupted", or one of those in which the run cannot be read:
    "gone", "replaced", "failed".
    """

    state: str
    words: str
    explained: str = ""


def freshness(
    state: str, committed_at: float, now: float, iteration: int | None = None, late: float = LATE_SECONDS
) -> Freshness:
    """Return how fresh a picture is of a run in `state` whose newest data came at `committed_at` (unix seconds).

    `iteration` is the newest one; after `late` seconds without anything new a recording has stalled.
    """
    since = ago(now - committed_at)
    at = "" if iteration is None else f"iteration {iteration:,}"
    if state == "recording" and now - committed_at > late:
        words = f"stalled for {since}" + (f" at {at}" if at else "")
        explained = f"The training's process still runs, but has written nothing for {since}."
        return Freshness("waiting", words, explained)
    if state == "recording":
        explained = "The training still runs. The page follows it by itself."
        return Freshness("recording", ", ".join(part for part in ("live", at, f"{since} ago") if part), explained)
    if state == "interrupted":
        explained = "The recorder ended without closing the run. Everything it had committed is here."
        return Freshness("interrupted", f"interrupted {since} ago", explained)
    return Freshness("closed", f"finished {since} ago", "The recording is complete.")


def unreadable(error: Exception) -> Freshness:
    """Return what is said of a run that cannot be read any more."""
    if isinstance(error, RunReplacedError):
        return Freshness("replaced", "replaced by another run", str(error))
    if isinstance(error, NotARunError):
        return Freshness("gone", "not there any more", GONE)
    words = str(error) if isinstance(error, DeepTrackerError) else f"{type(error).__name__}: {error}"
    return Freshness("failed", "cannot be read any more", words)


class Live(param.Parameterized):
    """Refreshes a session's run; `freshness` changes with every look at it."""

    freshness: param.Parameter[Any] = param.Parameter(doc="How fresh the page is, a Freshness.")

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self.session = session
        self._looks = 0
        self._committed: list[float] = []
        self._periodic: Any = None
        self.look()

    def start(self) -> None:
        """Look again and again, for as long as the page is open."""

        async def look() -> None:  # a coroutine stays on the thread that may change the page
            self._looks += 1
            if self.freshness.state in ("recording", "waiting") or self._looks % SLOWER == 0:
                with sent_in_order():
                    self.look(refresh=True)

        self._periodic = pn.state.add_periodic_callback(look, PERIOD)  # type: ignore[arg-type]

    def look(self, refresh: bool = False) -> None:
        """Bring the run up to date; whatever goes wrong becomes words on the page."""
        run = self.session.run
        try:
            if refresh:
                run.refresh()
            self.freshness = self._now()
        except Exception as error:
            if not isinstance(error, DeepTrackerError):
                logger.error("The run at %s cannot be refreshed.", run.storage, exc_info=error)
            self.freshness = unreadable(error)

    def stop(self) -> None:
        """Look no more."""
        if self._periodic is not None:
            self._periodic.stop()
            self._periodic = None

    def _now(self) -> Freshness:
        run = self.session.run
        if run.committed_at not in self._committed:
            self._committed = [*self._committed, run.committed_at][-GAPS:]
        gaps = [after - before for before, after in zip(self._committed, self._committed[1:], strict=False)]
        late = max(LATE_SECONDS, LATE_GAPS * max(gaps, default=0.0))
        first, stop = run.iterations
        return freshness(run.state, run.committed_at, time.time(), stop - 1 if stop > first else None, late)
