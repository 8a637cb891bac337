"""Watches a run while it is recorded, and alerts when the rules find a new episode.

It only reads: from a process of its own it cannot slow the training down, and it works wherever the run can be opened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from deeptracker.data_model.alerts import Alert, Delivery, Target, to_log
from deeptracker.data_model.anomaly import Standing
from deeptracker.data_model.detection import Following, chosen_rules, default_rules
from deeptracker.data_model.episode_text import speaking
from deeptracker.data_model.episodes import Episode, episodes_of_run, self_supporting
from deeptracker.data_model.errors import DeepTrackerError
from deeptracker.data_model.rules import Rule
from deeptracker.data_model.run import Run

SHARE_OF_TIME = 0.05

logger = logging.getLogger("deeptracker.alerts")


def alerting_rules() -> list[Rule]:
    """Return the rules that alert where none are named: those whose findings can make an episode.

    Single filters and images do something unusual all the time; who wants to hear of them names their rules.
    """
    return [rule for rule in default_rules() if rule.standing != Standing.WITNESS]


class Watcher:
    """Follows `run`, and hands each new episode to every one of `alerts`: functions that take an alert (a dict).

    `rules` are names, or rules with thresholds of their own, all of whose findings are told; without them
    `alerting_rules`. What there is before the watcher begins is not told, unless `from_start`. An episode is told once
    to each target, when it begins. Each look rests on what is new since the last one, and looking takes at most a
    twentieth of the time.
    """

    def __init__(
        self,
        run: Run,
        alerts: Sequence[Target] = (to_log,),
        *,
        rules: Iterable[str | Rule] | None = None,
        seconds: float = 10.0,
        from_start: bool = False,
    ) -> None:
        """Take the run; QueryError for an unknown rule."""
        self.run, self.rules = run, alerting_rules() if rules is None else chosen_rules(rules)
        self._named, self._seconds = rules is not None, seconds
        self._following = Following(self.rules)
        self._deliveries = [Delivery(target) for target in alerts]
        self._said: set[str] = set()
        self._looked_at: int | None = None
        if not from_start:
            self._tell(self._look(), silent=True)

    def check(self) -> list[Alert]:
        """Read what is new, and return the alerts it gave, which are on their way already."""
        try:
            if not self.run.refresh() and self._looked_at == self.run.version:
                return []
            found = self._look()
        except (DeepTrackerError, OSError) as error:
            self._say_once("run", f"{self.run.name} cannot be read now: {error}")
            return []
        return self._tell(found)

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

    def _look(self) -> list[Episode]:
        self._looked_at = self.run.version
        detection = self._following.update(self.run)
        for name, reason in detection.failures.items():
            self._say_once(name, f"the rule {name} could not look: {reason}")
        found = self_supporting(detection.anomalies) if self._named else detection.anomalies
        return episodes_of_run(self.run, found)

    def _tell(self, found: Sequence[Episode], silent: bool = False) -> list[Alert]:
        """Offer every episode to every target; return the alerts of those that were new to one of them."""
        told = []
        for episode in sorted(found, key=lambda one: one.start):
            alert = self._alert(episode)
            parts = {(one.rule, one.index, one.start) for one in episode.findings}
            if any([delivery.offer(alert, parts, silent) for delivery in self._deliveries]):
                told.append(alert)
        return told

    def _say_once(self, about: str, words: str) -> None:
        if about not in self._said:
            self._said.add(about)
            logger.error("%s", words)

    def _alert(self, episode: Episode) -> dict[str, Any]:
        found = speaking(episode)
        return {
            "run": str(self.run.name),
            "path": str(self.run.path),
            "rule": found.rule,
            "kind": str(found.kind),
            "entity": found.entity,
            "start": episode.start,
            "stop": episode.stop,
            "score": episode.score,
            "message": found.message,
            "rules": list(episode.rules),
            "place": episode.place,
            "entities": list(episode.entities),
            "sentences": list(episode.text),
        }
