"""Alerts, one for an episode, carried to where they should go without holding anybody up."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Set
from contextlib import suppress
from typing import Any

Alert = dict[str, Any]
"""Plain JSON values: run, path; rule, kind, entity, start, stop (iterations), score and message of the finding that
speaks for the episode; the `rules` that made it, its `place` and `entities`, and `sentences` about it."""

Target = Callable[[Alert], None]

MOST_WAITING = 1000
"""Alerts that may wait for a slow target; more are dropped, and counted."""

logger = logging.getLogger("deeptracker.alerts")


def to_log(alert: Alert) -> None:
    """Write an alert to the log `deeptracker.alerts`, as a warning."""
    logger.warning("%s: %s (iteration %s, rule %s)", alert["run"], alert["message"], alert["start"], alert["rule"])


class Only:
    """A target that takes alerts of some rules only."""

    def __init__(self, target: Target, rules: frozenset[str]) -> None:
        self.name, self.rules, self._target = _name(target), rules, target

    def __call__(self, alert: Alert) -> None:
        """Take an alert if one of the rules had a part in it."""
        if wants(self, alert):
            self._target(alert)


def only(target: Target, *rules: str) -> Target:
    """Return a target that takes the alerts of some rules only: of episodes that one of them had a part in."""
    return Only(target, frozenset(rules))


def wants(target: Target, alert: Alert) -> bool:
    """Whether a target takes an alert, by the rules that had a part in it."""
    return not isinstance(target, Only) or not target.rules.isdisjoint(alert["rules"])


def _name(target: Target) -> str:
    return str(getattr(target, "name", None) or getattr(target, "__qualname__", None) or type(target).__name__)


class Delivery:
    """Hands alerts to one target on a thread of its own; the first failure is logged, the others are counted."""

    def __init__(self, target: Target) -> None:
        """Start the thread."""
        self.name, self.failures, self.dropped = _name(target), 0, 0
        self._target, self._told = target, set[object]()
        self._waiting: queue.Queue[Alert | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name=f"deeptracker-alerts {self.name}", daemon=True)
        self._thread.start()

    def offer(self, alert: Alert, parts: Set[object], silent: bool = False) -> bool:
        """Hand over the alert of an episode, if it is wanted and new; return whether it was.

        `parts` are what the episode is made of. It is known where one of them was part of an episode that was told
        before: an episode grows while the run does. With `silent` it is only taken for told.
        """
        if not wants(self._target, alert):
            return False
        new = self._told.isdisjoint(parts)
        self._told |= parts
        if new and not silent:
            self.send(alert)
        return new

    def send(self, alert: Alert) -> None:
        """Hand an alert over; returns at once."""
        try:
            self._waiting.put_nowait(alert)
        except queue.Full:
            self.dropped += 1

    def close(self, seconds: float = 30.0) -> None:
        """Wait at most so long for what is under way, and log what did not get through, if anything."""
        with suppress(queue.Full):  # then nothing gets through any more: what waits is counted as lost
            self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)
        lost = self.failures + self.dropped + self._waiting.qsize() + self._thread.is_alive()
        if lost:
            logger.error("%d alerts did not get through to %s.", lost, self.name)

    def _run(self) -> None:
        while (alert := self._waiting.get()) is not None:
            try:
                self._target(alert)
            except Exception as error:  # noqa: BLE001 - whatever a target does, the watching goes on
                self.failures += 1
                if self.failures == 1:
                    logger.error("%s: %s: %s", self.name, type(error).__name__, error)
