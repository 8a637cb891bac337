"""Steps on a device: what was launched after one is collected before the next, so that nobody waits for the device."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, ClassVar

from torch import Tensor

from deeptracker.tracker.activations import Activations
from deeptracker.tracker.block import Taken
from deeptracker.tracker.contents import Contents
from deeptracker.tracker.device.measure import DeviceMeasure
from deeptracker.tracker.measuring import Measuring
from deeptracker.tracker.own import OwnStatistics
from deeptracker.tracker.scalars import raw_learning_rates
from deeptracker.tracker.steps import Steps


class DeferredSteps(Steps):
    """`Steps` whose measure is a `DeviceMeasure`.

    Before a step is taken, the device has long begun with its forward and backward pass: by then what was launched
    after the step before has arrived, or will before the device runs out of work.
    """

    defers: ClassVar[bool] = True
    _taken: Taken | None = None
    _scalars: Sequence[tuple[str, Sequence[float | Tensor]]] = ()
    _sent = False
    _found: Tensor | None = None
    _host_seconds = 0.0

    def take_over(
        self, contents: Contents, measure: Measuring, own: OwnStatistics | None, activations: Activations | None
    ) -> None:
        """Keep what is under way, and go on with other layers."""
        self.settle()
        assert isinstance(measure, DeviceMeasure)
        self._device, self._has_own = measure, own is not None
        super().take_over(contents, measure, own, activations)

    @property
    def iteration(self) -> int:
        """Number of steps taken; waits for the device where only that knows whether the last one was skipped."""
        if self._found is not None:
            self.settle()
        return self.steps

    @iteration.setter
    def iteration(self, value: int) -> None:
        self.steps = value

    def before(self) -> None:
        """Collect the step before; then as ever."""
        self.settle()
        super().before()

    def settle(self) -> None:
        """Keep what was launched last, once it has arrived; drop it where a gradient scaler skipped the step."""
        taken, self._taken = self._taken, None
        if taken is None:
            return
        found, self._found = self._found, None
        device_seconds = self._device.wait()
        extras = iter(self._device.extras() if self._sent else ())
        if found is not None and next(extras):
            self.steps = taken.iteration
            self.plan.take_back(taken.iteration, taken.due)
            self.look_ahead()
            return
        scalars = {name: _mean([_number(one, extras) for one in values]) for name, values in self._scalars}
        table, rows = self.table, self.rows
        if taken.due.layers or taken.due.filters:
            if not self._has_own:  # else what those measured lies in the tables already
                table, rows = self.room()
            self._device.collect(table, rows if taken.due.filters else None)
        if taken.due.layers:
            self.account(max(self._host_seconds, device_seconds))
        self.background.keep(taken._replace(scalars=scalars), table, rows)

    def _record(self, start: float, found: Tensor | None) -> None:
        due, measured = self.planned, self.due
        rates = [(name, [rate]) for name, rate in raw_learning_rates(self.optimizers).items()]
        self._scalars = [*rates, *self.pending.take_raw().items()]
        extras = [] if found is None else [found]
        extras += [one for _, values in self._scalars for one in values if isinstance(one, Tensor)]
        self._sent, self._found = bool(extras), found
        if measured:
            self.measure_own(self.table, self.rows)
            every_step = self.plan.layers.interval == 1
            self._device.launch(remember=every_step, filters=due.filters, extras=extras)
            self.remembered = self.steps + 1 if every_step else -1
        elif extras:
            self._device.send(extras)
        activations = self.take_activations() if due.activations else None
        self._host_seconds = perf_counter() - start + self.spent
        self._taken = self.plan_next(activations, {})


def _number(value: float | Tensor, extras: Any) -> float:
    return float(next(extras)) if isinstance(value, Tensor) else value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
