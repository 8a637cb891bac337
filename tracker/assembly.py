"""Putting a recorder together: what is recorded of which layers, what measures it, and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from torch import nn
from torch.optim import Optimizer

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.vocabulary import Description
from deeptracker.tracker.activations import Activations
from deeptracker.tracker.background import Background
from deeptracker.tracker.block import Block
from deeptracker.tracker.contents import contents
from deeptracker.tracker.device.measure import DeviceMeasure, common_device, fused_kernels
from deeptracker.tracker.device.steps import DeferredSteps
from deeptracker.tracker.exchange import Exchange
from deeptracker.tracker.follower import SharedPlan
from deeptracker.tracker.layers import RecordedLayer, find_layers, select_layers
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.measuring import Measuring
from deeptracker.tracker.opening import first_iteration, last_of, open_writer, thumbnails_of
from deeptracker.tracker.own import OwnStatistic, OwnStatistics
from deeptracker.tracker.plan import Plan
from deeptracker.tracker.schedule import Every, check_every
from deeptracker.tracker.sharded import ShardedMeasure
from deeptracker.tracker.snapshots import Snapshots
from deeptracker.tracker.steps import Steps
from deeptracker.tracker.validation_log import ValidationLog

_BLOCKS = 3


@dataclass(frozen=True)
class Wanted:
    """What a recorder was asked to record, and when: arguments of `Recorder`, which says what they mean."""

    every: Every
    filters_every: Every
    activations: bool | str | Iterable[str]
    activations_every: Every
    biases: bool
    statistics: Sequence[OwnStatistic]
    snapshots: bool | str | Iterable[str]
    snapshots_every: Every
    overhead: float
    flush_seconds: float
    resume: bool
    iteration: int | None

    def chosen(self, option: str, layers: Sequence[RecordedLayer]) -> list[int]:
        """Return the numbers of the layers that an option, `activations` or `snapshots`, is wanted of."""
        value = getattr(self, option)
        if isinstance(value, bool):
            return list(range(len(layers))) if value else []
        names = [value] if isinstance(value, str) else list(value)
        return select_layers(layers, names, option)

    def plan(self, activations: bool, iteration: int) -> Plan:
        """Return the schedules from an iteration on; RecordingError for intervals that make no sense."""
        every = self.activations_every if activations else None
        return Plan(self.every, self.filters_every, every, self.overhead, iteration)


@dataclass(frozen=True)
class Parts:
    """What a recorder consists of while it records."""

    background: Background
    steps: Steps
    activations: Activations | None
    snapshots: Snapshots
    validations: ValidationLog
    stop: Callable[[], None]
    """Tells other ranks, where they take part, that no more is recorded."""

    def end(self, overhead: float) -> None:
        """Write everything and close the run, with a note of the share of the training's time that it took."""
        try:
            self.stop()
            if self.activations:
                self.activations.close()
            iteration, left = self.steps.iteration, self.steps.pending.take()
            if left:
                self.background.submit(
                    lambda writer: writer.note("logged after the last step", at_iteration=iteration, **left)
                )
            share = round(overhead, 4)
            self.background.submit(lambda writer: writer.note("overhead", iteration=iteration, share=share))
        finally:
            self.background.close()


def find(model: nn.Module, wanted: Wanted) -> list[RecordedLayer]:
    """Return the layers to record; RecordingError where an option makes no sense for them."""
    layers = find_layers(model, wanted.biases)
    wanted.plan(bool(wanted.chosen("activations", layers)), 0)
    for name, every in (("activations_every", wanted.activations_every), ("snapshots_every", wanted.snapshots_every)):
        if every != "auto":
            check_every(name, every)
    wanted.chosen("snapshots", layers)
    return layers


def extend(parts: Parts, known: Sequence[RecordedLayer], found: Sequence[RecordedLayer], wanted: Wanted) -> Parts:
    """Take in the layers that have joined the model since: what is found beyond the layers known until now.

    Layers keep their places, the new ones come behind them. Returns the parts that take over.
    """
    layers = [*known, *found]
    watched = wanted.chosen("activations", layers)
    own = OwnStatistics(wanted.statistics, layers) if wanted.statistics else None
    content = contents([one.layer for one in layers], wanted.statistics, activations=bool(watched))
    joined = [one.layer for one in found]
    parts.background.exchange([Block(content) for _ in range(_BLOCKS)], lambda writer: writer.add_layers(joined))
    measure, _ = _measuring(layers, None)
    if parts.activations is not None:
        parts.activations.close()
    activations = Activations(layers, watched) if watched else None
    parts.steps.take_over(content, measure, own, activations)
    parts.snapshots.take_over(measure, wanted.chosen("snapshots", layers) or list(range(len(layers))))
    return replace(parts, activations=activations)


def assemble(
    storage: Storage,
    description: Description,
    layers: Sequence[RecordedLayer],
    optimizers: Sequence[Optimizer],
    wanted: Wanted,
    exchange: Exchange | None = None,
) -> Parts:
    """Open the run and put the parts together; raises what opening raises, and RecordingError for a bad statistic.

    With an `exchange` weights are sharded over ranks.
    """
    watched = wanted.chosen("activations", layers)
    if wanted.statistics and exchange is not None:
        raise RecordingError("statistics cannot be recorded of weights that are sharded: no rank has them whole.")
    own = OwnStatistics(wanted.statistics, layers) if wanted.statistics else None
    content = contents([one.layer for one in layers], wanted.statistics, activations=bool(watched))
    measure, kind = _measuring(layers, exchange)
    writer = open_writer(storage, description, content, wanted.resume, wanted.iteration)
    first = first_iteration(writer, wanted.iteration)
    last_validation, last_snapshot = last_of(writer, "validation"), last_of(writer, "snapshots")
    thumbnails = thumbnails_of(writer)
    background = Background(writer, [Block(content) for _ in range(_BLOCKS)], wanted.flush_seconds)
    activations = Activations(layers, watched) if watched else None
    plan = wanted.plan(bool(watched), first)
    if isinstance(measure, ShardedMeasure) and exchange is not None:
        plan = SharedPlan(plan, measure, exchange, first)
    kept = wanted.chosen("snapshots", layers) or list(range(len(layers)))
    return Parts(
        background,
        kind(content, measure, own, activations, optimizers, background, plan, first),
        activations,
        # Ranks that hold shards cannot know when a budget grants a snapshot.
        Snapshots(
            measure,
            background,
            kept,
            wanted.snapshots is not False and exchange is None,
            wanted.snapshots_every,
            last_snapshot,
        ),
        ValidationLog(background, last_validation, thumbnails),
        plan.stop if isinstance(plan, SharedPlan) else lambda: None,
    )


def _measuring(layers: Sequence[RecordedLayer], exchange: Exchange | None) -> tuple[Measuring, type[Steps]]:
    """Return what measures the layers where they are, and the steps that go with it."""
    if exchange is not None:
        return ShardedMeasure(layers, exchange), Steps
    device = common_device(layers)
    if device is None:
        return Measure(layers), Steps
    return DeviceMeasure(layers, device, fused_kernels(device)), DeferredSteps
