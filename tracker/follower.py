"""How ranks keep step where weights are sharded: the first says which iterations are recorded, the others follow."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from torch import Tensor

from deeptracker.tracker.bystander import Bystander
from deeptracker.tracker.exchange import FAILED, Exchange
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.plan import Due, Plan
from deeptracker.tracker.schedule import Every
from deeptracker.tracker.sharded import LocalShards, ShardedMeasure


class SharedPlan(Plan):
    """The plan of the first rank, which tells the others of every record beforehand.

    What is told holds: an interval that is changed afterwards counts from the record after the next one.
    """

    def __init__(self, plan: Plan, measure: ShardedMeasure, exchange: Exchange, iteration: int) -> None:
        """Take over a plan, at an iteration, and say when the first record is due."""
        self.__dict__.update(vars(plan))  # The schedules, as they are.
        self._measure, self._exchange = measure, exchange
        self._number, self._meeting = -1, -1
        self._arrange(iteration)

    def due(self, iteration: int) -> Due:
        """Return what is to be recorded of an iteration; once the last record is taken, say when the next one is."""
        if iteration > self._meeting:
            self._arrange(iteration)
        self._measure.iteration = iteration
        due, met = super().due(iteration), iteration == self._meeting
        return due._replace(layers=due.layers and met, filters=due.filters and met and self._measure.with_filters)

    def stop(self) -> None:
        """Say that there is no record after the next one, so that nobody waits for it."""
        with suppress(RuntimeError):  # The process group may be gone by now, and the other ranks with it.
            self._exchange.say(f"meeting/{self._number + 1}", {"stop": True})

    def _arrange(self, iteration: int) -> None:
        schedules = [one for one in (self.layers, self.filters) if one is not None]
        self._meeting = max(iteration, min(one.next for one in schedules))
        self._number += 1
        filters = super().due(self._meeting).filters
        self._measure.meeting, self._measure.with_filters = self._number, filters
        self._exchange.say(f"meeting/{self._number}", {"iteration": self._meeting, "filters": filters})


class Follower(Bystander):
    """What the recorder does at the steps of a rank that holds shards: sends what it measures to the first rank."""

    def __init__(
        self, iteration: int, layers: Sequence[RecordedLayer], exchange: Exchange, snapshots_every: Every
    ) -> None:
        """Begin at an iteration; RecordingError where the shards cannot be put together."""
        super().__init__(iteration)
        self._snapshots_every = snapshots_every
        self._exchange = exchange
        self._local = LocalShards(layers)
        exchange.send("layout", self._local.layout())
        self._number, self._meeting, self._filters, self._every_step = 0, -1, False, False
        self._remembered, self._stopped, self._last_snapshot = -1, False, -1

    def before(self) -> None:
        """Copy this rank's weights, if the step to come is recorded and they have changed since."""
        if self._remembered != self.iteration and self._is_meeting():
            self._local.remember()
            self._remembered = self.iteration

    def after(self, found: Tensor | None = None) -> None:
        """Send what was measured of the step, if it is recorded; nothing where a gradient scaler skipped it."""
        if found is not None and bool(found):
            return
        try:
            if self._is_meeting():
                self._send()
        finally:
            self.iteration += 1
        if self._snapshots_every != "auto" and self.iteration % self._snapshots_every == 0:
            self.snapshot()

    def change(self, snapshots_every: Every) -> None:
        """Take another interval of snapshots, as the first rank does."""
        self._snapshots_every = snapshots_every

    def snapshot(self) -> None:
        """Send this rank's weights as they are now, once at an iteration."""
        if self.iteration > self._last_snapshot and not self._stopped:
            self._last_snapshot = self.iteration
            self._exchange.send(f"snapshot/{self.iteration}", self._local.weights())

    def _send(self) -> None:
        key = f"record/{self._number}"
        try:
            self._exchange.send(key, self._local.measure(self._every_step, self._filters))
        except Exception as error:
            self._exchange.send(key, {FAILED: np.array(f"{type(error).__name__}: {error}")})
            raise
        self._remembered = self.iteration + 1 if self._every_step else -1
        self._number += 1

    def _is_meeting(self) -> bool:
        """Return whether the step to come, or just taken, is recorded; hear from the first rank which one is next."""
        if not self._stopped and self._meeting < self.iteration:
            heard = self._exchange.hear(f"meeting/{self._number}")
            self._stopped = "stop" in heard
            if not self._stopped:
                last, self._meeting, self._filters = self._meeting, heard["iteration"], heard["filters"]
                self._every_step = self._meeting == last + 1
        return not self._stopped and self._meeting == self.iteration
