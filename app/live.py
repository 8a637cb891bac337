"""Following a run that is being recorded: new data at regular times, and a mark of how fresh the page is."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import panel as pn
import param

from deeptracker.app.session import Session
from deeptracker.app.words import ago
from deeptracker.data_model.errors import DeepTrackerError

logger = logging.getLogger("deeptracker")

PERIOD = 1500
"""Milliseconds between looks at a run that is being recorded."""
SLOWER = 6
"""A run that is not being recorded is looked at this many times less often: it may be resumed."""
LATE_SECONDS = 20.0
"""A recording that has brought nothing for this long is said to be waiting."""


@dataclass(frozen=True)
class Freshness:
    """How fresh the page is: `state` in {"recording", "waiting", "closed", "interrupted", "failed"}, in words."""

    state: str
    words: str
    explained: str = ""


def freshness(state: str, committed_at: float, now: float, problem: str = "") -> Freshness:
    """Return how fresh a picture is of a run in `state` whose newest data came at `committed_at` (unix seconds)."""
    since = ago(now - committed_at)
    if problem:
        return Freshness("failed", "cannot be read any more", problem)
    if state == "recording" and now - committed_at > LATE_SECONDS:
        words = f"recording, nothing new for {since}"
        return Freshness("waiting", words, "The training still runs, but has written nothing lately.")
    if state == "recording":
        explained = "The training still runs. The page follows it by itself."
        return Freshness("recording", f"recording, last data {since} ago", explained)
    if state == "interrupted":
        explained = "The recorder ended without closing the run. Everything it had committed is here."
        return Freshness("interrupted", f"interrupted {since} ago", explained)
    return Freshness("closed", f"finished {since} ago", "The recording is complete.")


class Live(param.Parameterized):
    """Refreshes a session's run; `freshness` changes with every look at it."""

    freshness: param.Parameter[Any] = param.Parameter(doc="How fresh the page is, a Freshness.")

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self.session = session
        self._looks = 0
        self._periodic: Any = None
        self.look()

    def start(self) -> None:
        """Look again and again, for as long as the page is open."""

        async def look() -> None:  # a coroutine stays on the thread that may change the page
            self._looks += 1
            if self.session.run.state == "recording" or self._looks % SLOWER == 0:
                self.look(refresh=True)

        self._periodic = pn.state.add_periodic_callback(look, PERIOD)  # type: ignore[arg-type]

    def look(self, refresh: bool = False) -> None:
        """Bring the run up to date; whatever goes wrong becomes words on the page."""
        problem = ""
        run = self.session.run
        if refresh:
            try:
                run.refresh()
            except DeepTrackerError as error:
                problem = str(error)
            except Exception as error:
                logger.error("The run at %s cannot be refreshed.", run.storage, exc_info=error)
                problem = f"{type(error).__name__}: {error}"
        self.freshness = freshness(run.state, run.committed_at, time.time(), problem)

    def stop(self) -> None:
        """Look no more."""
        if self._periodic is not None:
            self._periodic.stop()
            self._periodic = None
