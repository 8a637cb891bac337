"""Watches a run while it is recorded, and alerts when a rule finds something new.

It only reads: from a process of its own it cannot slow the training down, and it works wherever the run can be opened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from deeptracker.data_model.alerts import Alert, Delivery, Episodes, Target, to_log
from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.detection import chosen_rules, default_rules, detect
from deeptracker.data_model.errors import DeepTrackerError
from deeptracker.data_model.rules import Rule
from deeptracker.data_model.run import Run

WHOLE = (Kind.SCALAR, Kind.LAYER, Kind.CLASS)
SHARE_OF_TIME = 0.05
LOOK_BACK = 2000
"""Iterations before what is new that are looked at again: what some rules find is known only later."""

LOOK_BACK_VALIDATIONS = 100

logger = logging.getLogger("deeptracker.alerts")


def alerting_rules() -> list[Rule]:
    """Return the rules that alert where none are named: those about scalars, layers and classes, no landmarks.

    Single filters and images do something unusual all the time; who wants to hear of them names their rules.
    """
    return [rule for rule in default_rules() if rule.kind in WHOLE and not rule.landmark]


class Watcher:
    """Follows `run`, and hands each new finding to every one of `alerts`: functions that take an alert (a dict).

    `rules` are names, or rules with thresholds of their own; without them `alerting_rules`. What there is before the
    watcher begins is not told, unless `from_start`. Findings of a rule within `gap` iterations are one alert. Each
    look rests on what is new since the last one, and looking takes at most a twentieth of the time.
    """

    def __init__(
        self,
        run: Run,
        alerts: Sequence[Target] = (to_log,),
        *,
        rules: Iterable[str | Rule] | None = None,
        gap: int = 100,
        seconds: float = 10.0,
        from_start: bool = False,
    ) -> None:
        """Take the run; QueryError for an unknown rule."""
        self.run, self.rules = run, alerting_rules() if rules is None else chosen_rules(rules)
        self._seconds, self._episodes = seconds, Episodes(gap)
        self._deliveries = [Delivery(target) for target in alerts]
        self._told: set[str] = set()
        self._seen = 0
        if not from_start:
            self._episodes.new(self._look())

    def check(self) -> list[Alert]:
        """Read what is new, and return the alerts it gave, which are on their way already."""
        try:
            if not self.run.refresh() and self._seen == self.run.iterations[1]:
                return []
            found = self._episodes.new(self._look())
        except (DeepTrackerError, OSError) as error:
            self._say_once("run", f"{self.run.name} cannot be read now: {error}")
            return []
        alerts = [self._alert(one) for one in found]
        for alert in alerts:
            for delivery in self._deliveries:
                delivery.send(alert)
        return alerts

    def follow(self, stop: threading.Event | None = None) -> None:
        """Look again and again until the run is no longer being recorded, or `stop` is set; then close."""
        stop = stop or threading.Event()
        try:
            while True:
                recording = self.run.state == "recording"
                begin = time.monotonic()
                self.check()
                if not recording or stop.wait(max(self._seconds, (time.monotonic() - begin) / SHARE_OF_TIME)):
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Wait, a bounded time, until what is to be told is told."""
        for delivery in self._deliveries:
            delivery.close()

    def _look(self) -> list[Anomaly]:
        stop = self.run.iterations[1]
        since = max(0, min(self._seen, stop) - self._look_back())
        self._seen = stop
        if since >= stop:
            return []
        detection = detect(self.run, self.rules, (since, stop))
        for name, reason in detection.failures.items():
            self._say_once(name, f"the rule {name} could not look: {reason}")
        return detection.anomalies

    def _look_back(self) -> int:
        when = self.run.validation["iteration"].values
        lately = when[-LOOK_BACK_VALIDATIONS:]
        return max(LOOK_BACK, int(lately[-1] - lately[0]) + 1 if len(lately) else 0)

    def _say_once(self, about: str, words: str) -> None:
        if about not in self._told:
            self._told.add(about)
            logger.error("%s", words)

    def _alert(self, found: Anomaly) -> dict[str, Any]:
        return {
            "run": str(self.run.name),
            "path": str(self.run.path),
            "rule": found.rule,
            "kind": str(found.kind),
            "entity": found.entity,
            "start": found.start,
            "stop": found.stop,
            "score": found.score,
            "message": found.message,
        }
