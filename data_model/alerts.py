"""Alerts: at most one for each episode of a rule, carried to where they should go without holding anybody up."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeptracker.data_model.anomaly import Anomaly

Alert = dict[str, Any]
"""Plain JSON values: run, path, rule, kind, entity, start, stop (iterations), score, message."""

Target = Callable[[Alert], None]

MOST_WAITING = 1000
"""Alerts that may wait for a slow target; more are dropped, and counted."""

logger = logging.getLogger("deeptracker.alerts")


def to_log(alert: Alert) -> None:
    """Write an alert to the log `deeptracker.alerts`, as a warning."""
    logger.warning("%s: %s (iteration %s, rule %s)", alert["run"], alert["message"], alert["start"], alert["rule"])


def only(target: Target, *rules: str) -> Target:
    """Return a target that takes the alerts of some rules only."""

    def chosen(alert: Alert) -> None:
        if alert["rule"] in rules:
            target(alert)

    chosen.name = _name(target)  # type: ignore[attr-defined]
    return chosen


def _name(target: Target) -> str:
    return str(getattr(target, "name", None) or getattr(target, "__qualname__", None) or type(target).__name__)


@dataclass
class Episodes:
    """The stretches of iterations in which each rule found something, so that each is told once.

    Findings of a rule that lie at most `gap` iterations apart belong to one stretch, whatever they lie in.
    """

    gap: int = 100
    _known: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def new(self, anomalies: Iterable[Anomaly]) -> list[Anomaly]:
        """Take findings in, and return those that begin a stretch not known before, the highest score of each."""
        opened: list[Anomaly] = []
        for found in sorted(anomalies, key=lambda one: (one.rule, one.start)):
            near = [span for span in self._known.get(found.rule, []) if self._touches(span, found)]
            mine = [one for one in opened if one.rule == found.rule and any(self._touches(span, one) for span in near)]
            if not near:
                opened.append(found)
            elif mine and found.score > mine[-1].score:
                opened[opened.index(mine[-1])] = found
            self._take(found, near)
        return sorted(opened, key=lambda one: one.start)

    def _touches(self, span: tuple[int, int], found: Anomaly) -> bool:
        return found.start <= span[1] + self.gap and found.stop >= span[0] - self.gap

    def _take(self, found: Anomaly, near: Sequence[tuple[int, int]]) -> None:
        merged = (min([found.start, *(a for a, _ in near)]), max([found.stop, *(b for _, b in near)]))
        left = [span for span in self._known.get(found.rule, []) if span not in near]
        self._known[found.rule] = sorted([*left, merged])


class Delivery:
    """Hands alerts to one target on a thread of its own; the first failure is logged, the others are counted."""

    def __init__(self, target: Target) -> None:
        """Start the thread."""
        self.name, self.failures, self.dropped = _name(target), 0, 0
        self._target = target
        self._waiting: queue.Queue[Alert | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name=f"deeptracker-alerts {self.name}", daemon=True)
        self._thread.start()

    def send(self, alert: Alert) -> None:
        """Hand an alert over; returns at once."""
        try:
            self._waiting.put_nowait(alert)
        except queue.Full:
            self.dropped += 1

    def close(self, seconds: float = 30.0) -> None:
        """Wait at most so long for what is under way, and log what did not get through, if anything."""
        try:
            self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)
        except queue.Full:
            pass
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
