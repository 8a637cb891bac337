"""The search for anomalies behind a session: off the page's thread, repeated while the run grows, never in the way."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import panel as pn
import param

from deeptracker.app.later import in_order
from deeptracker.app.shared_search import Shared
from deeptracker.data_model.anomaly import Anomaly, to_frame
from deeptracker.data_model.detection import Detection, Following, default_rules
from deeptracker.data_model.episodes import Episode, episodes_of_run
from deeptracker.data_model.rules import Rule

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

SHARE_OF_TIME = 0.05
"""Searching a growing run takes at most about this share of one core."""
LEAST_REST = 3.0
"""Seconds between the end of a search and the next one, at least."""


@dataclass(frozen=True)
class Found:
    """What one search has found, and the seconds it took."""

    detection: Detection
    table: pd.DataFrame
    episodes: list[Episode]
    seconds: float


_shared: Shared[Found] = Shared()


def _as_they_were(rule: Rule) -> bool:
    """Whether all thresholds of a rule are its own, untouched."""
    return all(getattr(rule, name) == rule.param[name].default for name in rule.thresholds())


class AnomalySearch(param.Parameterized):
    """Finds a run's anomalies again whenever there is something new; `table` is what was found last.

    `episodes` are what belongs together in it, the most important first, `rows` the row of each finding in the table.
    Each search rests on what is new since the one before it.

    Watch `version`. In a served page the search runs on a thread of its own and its result arrives on the thread that
    may change the page; without a page (a notebook, a test) `start` returns when it is done.
    """

    version: param.Integer[int] = param.Integer(default=0, bounds=(0, None), doc="Counts the finished searches.")
    searching: param.Boolean[bool] = param.Boolean(default=False, doc="Whether a search is under way.")

    def __init__(self, run: Run, **params: Any) -> None:
        super().__init__(**params)
        self.run = run
        self.rules = default_rules()
        self.table: pd.DataFrame = to_frame([])
        self.episodes: list[Episode] = []
        self.rows: dict[Anomaly, int] = {}
        self._following = Following(self.rules)
        self.failures: dict[str, str] = {}
        self.seconds = 0.0
        self._document = _served_document()
        self._searched: int | None = None
        self._rested_at = 0.0
        self._again = self._waiting = self._closed = False
        self._watcher = run.param.watch(lambda event: self.start(), ["version"])

    def start(self, *, now: bool = False) -> None:
        """Search if the run has something new, or in any case (`now`: thresholds have changed)."""
        if self._closed or (self._searched == self.run.version and not now):
            return
        rest = self._rested_at - time.monotonic()
        if self.searching:
            self._again = self._again or now
        elif rest > 0 and not now and self.run.state == "recording" and self._document is not None:
            self._start_after(rest)
        else:
            self._begin()

    def close(self) -> None:
        """Stop following the run; a search under way ends unheard."""
        self._closed = True
        self.run.param.unwatch(self._watcher)

    def _start_after(self, seconds: float) -> None:
        if not self._waiting and self._document is not None:
            self._waiting = True
            self._document.add_timeout_callback(in_order(self._rested), int(seconds * 1000) + 1)

    def _rested(self) -> None:
        self._waiting = False
        self.start()

    def _begin(self) -> None:
        self.searching, self._again, self._searched = True, False, self.run.version
        if self._document is None:
            self._end(self._look())
        else:
            threading.Thread(target=self._look_apart, name="anomaly search", daemon=True).start()

    def _look(self) -> Found:
        """Search; what is found in a finished run with the rules' own thresholds is the same for all sessions."""
        run = self.run
        if run.state != "closed" or any(not _as_they_were(rule) for rule in self.rules):
            return self._look_alone()
        key = (run.url, run.committed_at)
        return _shared.get(key, self._look_alone, lambda found: not found.detection.failures)

    def _look_alone(self) -> Found:
        started = time.monotonic()
        episodes: list[Episode] = []
        try:
            detection = self._following.update(self.run)
            episodes = episodes_of_run(self.run, detection.anomalies)
        except Exception as error:  # noqa: BLE001 - said in the views; the page goes on
            detection = Detection(failures={"search": f"{type(error).__name__}: {error}"})
        return Found(detection, to_frame(detection.anomalies), episodes, time.monotonic() - started)

    def _look_apart(self) -> None:
        result = self._look()
        if not self._closed:
            self._document.add_next_tick_callback(in_order(lambda: self._end(result)))

    def _end(self, found: Found) -> None:
        if self._closed:
            return
        self.table, self.failures, self.seconds = found.table, found.detection.failures, found.seconds
        self.rows = {one: row for row, one in enumerate(found.detection.anomalies)}
        self.episodes = found.episodes
        self._rested_at = time.monotonic() + max(LEAST_REST, found.seconds / SHARE_OF_TIME)
        self.searching = False
        self.version += 1
        if self._again:
            self.start(now=True)
        else:
            self.start()


def _served_document() -> Any:
    document = pn.state.curdoc
    return document if document is not None and document.session_context is not None else None
