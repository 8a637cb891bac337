"""What happens at every optimizer step: decide, measure, keep, and account for the time it took."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
from torch.optim import Optimizer

from deeptracker.tracker.background import Background
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.scalars import Pending, learning_rates
from deeptracker.tracker.schedule import Every, Schedule
from deeptracker.tracker.totals import INTERVAL, LAYER_COLUMNS

FILTERS_EVERY = 16


class Steps:
    """Counts optimizer steps from `iteration` on, and records those that are due."""

    def __init__(
        self,
        measure: Measure,
        optimizers: Sequence[Optimizer],
        background: Background,
        layers: Schedule,
        filters: Schedule | None,
        iteration: int,
    ) -> None:
        """Take the schedule of the layers and that of the filters (None: every 16th iteration)."""
        self.iteration = iteration
        self.pending = Pending()
        self._measure, self._optimizers, self._background = measure, optimizers, background
        self._layers, self._filters = layers, filters
        self._next_filters = -(-iteration // FILTERS_EVERY) * FILTERS_EVERY
        self._table = np.empty((measure.layers, LAYER_COLUMNS), np.float64)
        self._remembered = -1
        self._spent = 0.0
        self._ended: float | None = None
        self._records = 0

    def before(self) -> None:
        """Copy the weights, if the step to come is due and they have changed since they were copied last."""
        if self._remembered != self.iteration and self.due:
            start = perf_counter()
            self._measure.remember()
            self._remembered = self.iteration
            self._spent += perf_counter() - start

    def after(self) -> None:
        """Record the step that has just been taken, as far as it is due. `before` was called before it."""
        start = perf_counter()
        if self._ended is not None:
            self._layers.observe_step(start - self._ended - self._spent)
        try:
            self._record(start)
        finally:
            self.iteration += 1
            self._spent = 0.0
            self._ended = perf_counter()

    def pause(self) -> None:
        """Say that what comes now is not training: the time until the next step is not that of a step."""
        self._ended = None

    @property
    def due(self) -> bool:
        """Whether the weights and gradients of the step to come are recorded."""
        by_themselves = self._filters is not None and self._filters.due(self.iteration)
        return self._layers.due(self.iteration) or by_themselves

    def _filters_due(self, layers: bool) -> bool:
        if self._filters is not None:
            return self._filters.due(self.iteration)
        return layers and self.iteration >= self._next_filters

    def _record(self, start: float) -> None:
        layers = self._layers.due(self.iteration)
        filters = self._filters_due(layers)
        rates = learning_rates(self._optimizers)
        if layers or filters:
            self._measure.measure(self._table, remember=self._layers.interval == 1)
            self._remembered = self.iteration + 1 if self._layers.interval == 1 else -1
        if layers:
            self._account(perf_counter() - start + self._spent)
        with self._background as block:
            if layers:
                self._table[:, INTERVAL] = self._layers.interval
                block.add_layers(self.iteration, self._layers.interval, self._table)
                self._layers.recorded(self.iteration)
            if filters:
                block.add_filters(self.iteration, self._plan_filters(), self._measure.copy_filters)
            block.add_scalars(self.iteration, {**rates, **self.pending.take()})

    def _plan_filters(self) -> int:
        """Set when the filters are due next; return how many iterations that is."""
        if self._filters is not None:
            self._filters.recorded(self.iteration)
            return self._filters.interval
        interval = max(FILTERS_EVERY, self._layers.interval)
        self._next_filters = self.iteration + interval
        return interval

    def _account(self, seconds: float) -> None:
        """Tell the schedule what the record cost, the background's share included; note a new interval."""
        self._records += 1
        iteration = self.iteration
        if self._layers.observe_cost(seconds + self._background.seconds / self._records):
            values = {"iteration": iteration, "interval": self._layers.interval, **self._layers.measured}
            self._background.submit(lambda writer: writer.note("interval", **values))


def every_schedules(
    every: Every, filters_every: Every, overhead: float, first: int
) -> tuple[Schedule, Schedule | None]:
    """Return the schedule of the layers, and that of the filters (None: with the layers, every 16th iteration)."""
    filters = None if filters_every == "auto" else Schedule(filters_every, overhead, first, name="filters_every")
    return Schedule(every, overhead, first), filters
