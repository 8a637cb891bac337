"""Which families are recorded at which iterations, and how they share the budget."""

from __future__ import annotations

from typing import NamedTuple

from deeptracker.tracker.schedule import Every, Schedule

FILTERS_EVERY = 16


class Due(NamedTuple):
    """What is to be recorded of an iteration."""

    layers: bool
    filters: bool
    activations: bool


class Intervals(NamedTuple):
    """How many iterations a record of each family stands for."""

    layers: int
    filters: int
    activations: int


class Plan:
    """The schedules of layers, filters and activations.

    Automatic intervals share `overhead`, the part of the training's time that recording may take: what the other
    families are measured to take is left to the layers, never less than a half of it; activations get a quarter.
    Filters, whose numbers the layers' pass brings along, are recorded with every 16th iteration of the layers
    unless they have an interval of their own.
    """

    def __init__(
        self,
        every: Every,
        filters_every: Every,
        activations_every: Every | None,
        overhead: float,
        iteration: int = 0,
    ) -> None:
        """Begin at an iteration; `activations_every` is None where none are recorded. RecordingError for nonsense."""
        self.overhead = overhead
        self.layers = Schedule(every, overhead, iteration)
        self.filters: Schedule | None = None
        self._next_filters = 0
        self._change_filters(filters_every, iteration)
        self.activations = (
            None
            if activations_every is None
            else Schedule(activations_every, overhead / 4, iteration, name="activations_every")
        )

    @property
    def adapts(self) -> bool:
        """Whether any interval follows from what recording is measured to take."""
        return self.layers.automatic or (self.activations is not None and self.activations.automatic)

    def due(self, iteration: int) -> Due:
        """Return what is to be recorded of an iteration."""
        layers = iteration >= self.layers.next
        filters = iteration >= self.filters.next if self.filters else layers and iteration >= self._next_filters
        return Due(layers, filters, self.activations is not None and iteration >= self.activations.next)

    def change(
        self,
        iteration: int,
        every: Every | None = None,
        filters_every: Every | None = None,
        activations_every: Every | None = None,
        overhead: float | None = None,
    ) -> None:
        """Take other intervals from an iteration on, or another budget; None leaves them. RecordingError as ever."""
        if overhead is not None:
            self.overhead = overhead
            if self.activations is not None:
                self.activations.overhead = overhead / 4
        if every is not None:
            self.layers.change(every, iteration)
        if filters_every is not None:
            self._change_filters(filters_every, iteration)
        if activations_every is not None and self.activations is not None:
            self.activations.change(activations_every, iteration)

    def recorded(self, iteration: int, due: Due) -> Intervals:
        """Say that what is due was recorded; return how many iterations each record stands for, 0 where there is none.

        What decides lies here and in `due`, not in the schedules: this comes at every step.
        """
        layers = filters = activations = 0
        if due.layers:
            layers = self.layers.interval
            self.layers.next = iteration + layers
        if due.filters and self.filters is not None:
            filters = self.filters.interval
            self.filters.next = iteration + filters
        elif due.filters:
            filters = max(FILTERS_EVERY, self.layers.interval)
            self._next_filters = iteration + filters
        if due.activations and self.activations is not None:
            activations = self.activations.interval
            self.activations.next = iteration + activations
        return Intervals(layers, filters, activations)

    def take_back(self, iteration: int, due: Due) -> None:
        """Have what was recorded of an iteration recorded again: the step was none."""
        if due.layers:
            self.layers.next = iteration
        if due.filters:
            if self.filters is not None:
                self.filters.next = iteration
            self._next_filters = iteration
        if due.activations and self.activations is not None:
            self.activations.next = iteration

    def observe_step(self, seconds: float) -> None:
        """Tell how long a training step took without any recording."""
        self.layers.observe_step(seconds)
        if self.activations is not None:
            self.activations.observe_step(seconds)

    def observe_layers(self, seconds: float) -> bool:
        """Tell what recording the layers, and filters, took; return whether their interval has changed by it."""
        others = self.activations.share if self.activations is not None else 0.0
        self.layers.overhead = max(self.overhead - others, self.overhead / 2)
        return self.layers.observe_cost(seconds)

    def observe_activations(self, seconds: float) -> bool:
        """Tell what recording the activations took; return whether their interval has changed because of it."""
        assert self.activations is not None
        return self.activations.observe_cost(seconds)

    def _change_filters(self, every: Every, iteration: int) -> None:
        if every == "auto":
            self.filters = None
            self._next_filters = -(-iteration // FILTERS_EVERY) * FILTERS_EVERY
        else:
            self.filters = Schedule(every, self.overhead, iteration, name="filters_every")
