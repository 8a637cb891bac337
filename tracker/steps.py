"""What happens at every optimizer step: decide, measure, keep, and account for the time it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch.optim import Optimizer

from deeptracker.tracker.activations import Activations
from deeptracker.tracker.background import Background
from deeptracker.tracker.block import Taken
from deeptracker.tracker.contents import Contents
from deeptracker.tracker.measuring import Measuring
from deeptracker.tracker.own import OwnStatistics
from deeptracker.tracker.plan import Plan
from deeptracker.tracker.scalars import Pending, learning_rates
from deeptracker.tracker.schedule import Every, Schedule
from deeptracker.tracker.totals import FILTER_COLUMNS, LAYER_COLUMNS, Float64


class Steps:
    """Counts optimizer steps from `iteration` on, and records what the plan has due.

    What has no underscore before its name and is no method of the recorder's is there for `DeferredSteps`.
    """

    defers: ClassVar[bool] = False
    """Whether what was measured of a step is collected before the next one."""

    def __init__(
        self,
        contents: Contents,
        measure: Measuring,
        own: OwnStatistics | None,
        activations: Activations | None,
        optimizers: Sequence[Optimizer],
        background: Background,
        plan: Plan,
        iteration: int,
    ) -> None:
        """Take what measures, what keeps, and when. `own` and `activations` are None where there are none."""
        self.steps = iteration
        self.pending = Pending()
        self.optimizers, self.background, self.plan = optimizers, background, plan
        self.take_over(contents, measure, own, activations)
        self.spent = 0.0
        self._ended: float | None = None
        self._records = 0
        self._recording_seconds = self._training_seconds = 0.0

    def take_over(
        self,
        contents: Contents,
        measure: Measuring,
        own: OwnStatistics | None,
        activations: Activations | None,
    ) -> None:
        """Go on with other layers; the background is ready for their contents."""
        self._measure, self._own, self._activations = measure, own, activations
        # Where a record is measured to that finds no room in a block.
        self.table = np.empty((len(contents.layers), contents.layer_columns), np.float64)
        self.rows = np.empty((contents.filters, contents.filter_columns), np.float64)
        self.remembered = self._begun = -1
        self.look_ahead()

    @property
    def iteration(self) -> int:
        """Number of steps taken."""
        return self.steps

    @iteration.setter
    def iteration(self, value: int) -> None:
        self.steps = value

    @property
    def overhead(self) -> float:
        """What recording took of the training's time so far, on the training's thread; 0 before the second step."""
        return self._recording_seconds / self._training_seconds if self._training_seconds else 0.0

    def before(self) -> None:
        """Copy the weights, if the step to come is due and they have changed since they were copied last."""
        # With several optimizers this comes several times: what changes from the first on belongs to the iteration.
        first, self._begun = self._begun != self.steps, self.steps
        planned = self.planned
        if (planned.layers or planned.filters) and (self.remembered != self.steps or (first and self._measure.stale)):
            start = perf_counter()
            self._measure.remember()
            self.remembered = self.steps
            self.spent += perf_counter() - start

    def after(self, found: Tensor | None = None) -> None:
        """Record the step that has just been taken, as far as it is due. `before` was called before it.

        `found`, on a device, is above zero where a gradient scaler found Inf and skipped the step after all.
        """
        if found is not None and not self.defers and bool(found):
            return
        start = perf_counter()
        spent = self.spent + (self._activations.seconds if self._activations else 0.0)
        step = None if self._ended is None else start - self._ended - spent
        try:
            if step is not None and self.plan.adapts:
                self.plan.observe_step(step)
            self._record(start, found)
        except BaseException:
            # Whatever came in between, Ctrl-C maybe: the step is over, and what was logged of it is not the next one's.
            self.pending.take_raw()
            raise
        finally:
            if step is not None:
                self._training_seconds += step
                self._recording_seconds += spent + perf_counter() - start
            self.steps += 1
            self.spent = 0.0
            self.look_ahead()
            self._ended = perf_counter()

    @property
    def due(self) -> bool:
        """Whether the weights and gradients of the step to come are recorded."""
        return self.planned.layers or self.planned.filters

    def count(self, found: Tensor | None = None) -> None:
        """Count a step that is not recorded."""
        if found is None or not bool(found):
            self.steps += 1

    def settle(self) -> None:
        """Keep what is still under way: nothing, where measuring is done when it returns."""

    def pause(self) -> None:
        """Say that what comes now is not training: the time until the next step is not that of a step."""
        self._ended = None

    def change(
        self,
        every: Every | None,
        filters_every: Every | None,
        activations_every: Every | None,
        overhead: float | None,
    ) -> None:
        """Record at other intervals, or in another budget, from the step to come on; None leaves one as it is."""
        self.plan.change(self.steps, every, filters_every, activations_every, overhead)
        self.look_ahead()

    def look_ahead(self) -> None:
        """Find out what is to be recorded of the step to come."""
        self.planned = self.plan.due(self.steps)
        if self._activations is not None:
            self._activations.due = self.planned.activations

    def _record(self, start: float, found: Tensor | None) -> None:
        """Measure and keep what is due; a step that `found` Inf in its gradients was none, and never comes here."""
        due = self.planned
        scalars = learning_rates(self.optimizers)
        table, rows = self.table, self.rows
        if due.layers or due.filters:
            table, rows = self.room()
            every_step = self.plan.layers.interval == 1
            self.measure_own(table, rows)
            self._measure.measure(table, rows if due.filters else None, remember=every_step)
            self.remembered = self.steps + 1 if every_step else -1
        activations = self.take_activations() if due.activations else None
        if due.layers:
            self.account(perf_counter() - start + self.spent)
        scalars.update(self.pending.take())
        taken = self.plan_next(activations, scalars)
        self.background.keep(taken, table, rows)

    def room(self) -> tuple[Float64, Float64]:
        """Return where layers and filters are measured to: where they are kept, wherever possible.

        A copy would go through the caches once more.
        """
        table, rows = self.background.filling.upcoming
        return self.table if table is None else table, self.rows if rows is None else rows

    def measure_own(self, table: Float64, rows: Float64) -> None:
        """Measure the user's own statistics. First of all: with `remember` the weights before are overwritten."""
        if self._own is not None:
            self._own.measure(self._measure.before, table[:, LAYER_COLUMNS:], rows[:, FILTER_COLUMNS:])

    def plan_next(self, activations: Float64 | None, scalars: Mapping[str, float]) -> Taken:
        """Return what is recorded of this step, and have the plan go on to the next records."""
        due, iteration = self.planned, self.steps
        return Taken(iteration, due, self.plan.recorded(iteration, due), activations, scalars)

    def take_activations(self) -> Float64:
        """Return what was seen of the layers' outputs in the step, float64 (statistic, layer)."""
        assert self._activations is not None
        start, seconds = perf_counter(), self._activations.seconds
        values = self._activations.take()
        if self.plan.observe_activations(seconds + perf_counter() - start):
            self._note_interval("activations", self.plan.activations)
        return values

    def account(self, seconds: float) -> None:
        """Tell the plan what the record cost, the background's share included; note a new interval."""
        self._records += 1
        if self.plan.adapts and self.plan.observe_layers(seconds + self.background.seconds / self._records):
            self._note_interval("layers", self.plan.layers)

    def _note_interval(self, family: str, schedule: Schedule | None) -> None:
        assert schedule is not None
        values = {"family": family, "iteration": self.steps, "interval": schedule.interval, **schedule.measured}
        self.background.submit(lambda writer: writer.note("interval", **values))
