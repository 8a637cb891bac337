"""The recorder: attach it to a training loop, and everything about the training is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from torch import nn
from torch.optim import Optimizer

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.storage import open_storage
from deeptracker.tracker.assembly import Wanted
from deeptracker.tracker.bystander import Bystander
from deeptracker.tracker.opening import describe
from deeptracker.tracker.options import (
    check_budget,
    check_options,
    plain_optimizers,
    uncompiled,
)
from deeptracker.tracker.own import OwnStatistic
from deeptracker.tracker.recording import Recording
from deeptracker.tracker.schedule import Every
from deeptracker.tracker.validation import Validation


class Recorder:
    """Records a training into a run at `path`, by a hook that every optimizer calls after its step.

    Recording never changes training: it reads tensors, changes none, and draws no random number of torch, numpy or
    Python. Iterations count optimizer steps from 0; with several optimizers an iteration ends with the step of the
    last one given. A step that a gradient scaler skipped is no iteration.

    The change of the weights is always that of ONE step, whatever the interval: where not every iteration is
    recorded, the weights are copied right before a step that will be. So values stay comparable when the interval
    changes; the statistic `interval` tells how many iterations a record stands for.

    Layers that join the model later, with a parameter group of their own, are recorded from then on.

    Where several processes train one network (DDP, FSDP2), every rank makes its recorder with the same arguments, and
    the loop is the same on all of them: rank 0 records, on the others a recorder counts iterations, and measures what
    only they have of sharded weights.

    Example::

        with Recorder("runs/first", model, [optimizer], classes=names) as recorder:
            for x, y in batches:
                loss = criterion(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                recorder.log(loss=loss)
                optimizer.step()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: nn.Module,
        optimizers: Optimizer | Iterable[Optimizer],
        *,
        every: Every = "auto",
        filters_every: Every = "auto",
        activations: bool | str | Iterable[str] = False,
        activations_every: Every = "auto",
        biases: bool = False,
        statistics: Sequence[OwnStatistic] = (),
        snapshots: bool | str | Iterable[str] = True,
        snapshots_every: Every = "auto",
        overhead: float = 0.04,
        flush_seconds: float = 5.0,
        resume: bool = False,
        iteration: int | None = None,
        on_error: Literal["raise", "warn"] = "raise",
        name: str = "",
        classes: Iterable[str] = (),
        parameters: Mapping[str, Any] | None = None,
        hooks: bool = True,
    ) -> None:
        """Start a new run, or continue one.

        `every`, `filters_every` and `activations_every` are the intervals of the statistics of layers, filters and
        activations, in iterations; scalars are kept at every iteration. "auto" keeps recording within `overhead`, a
        share of the training's time, and records the filters at every 16th iteration (or at every record of the
        layers, where those are rarer). `schedule` changes them later.
        `activations`: record what these layers put out: True for all, or names of layers and blocks.
        `biases`: record the biases too, each as a layer of its own (`conv1.bias`).
        `statistics`: functions decorated with `deeptracker.statistic`, recorded of every layer or filter.
        `snapshots`: keep the weights of all layers (True), of the layers and blocks named, or, with False, only when
        `snapshot()` asks for it. "auto" as `snapshots_every` keeps them at validations, for networks small enough: at
        most 64 MB in all, at every validation at first and more rarely later on; a number, at that interval.
        `flush_seconds`: at most so much of the training is lost if the process is killed.
        `resume`: continue the run at `path` after its last committed iteration, or start it where there is none.
        `iteration`: the number of optimizer steps that the model has had already, as its checkpoint says. A resumed
        run goes on from there: what it holds of later iterations is cut off, and the cut is noted in it. Where it ends
        earlier, because its last seconds were lost, the gap is noted, with a warning.
        `on_error`: when recording fails (a full disk, a layer that changes its shape), raise RecordingError once, or
        warn once and let training go on unrecorded. What is wrong with a call's arguments is raised in any case.
        `name`, `classes` and `parameters` (hyperparameters) describe the run.
        `hooks`: with False no optimizer is hooked, and the training loop calls `step()` after every iteration.

        Raises RunExistsError where a run is and `resume` is not set, RunLockedError where another process records,
        RunAccessError where nothing can be written (unless `on_error` is "warn"), RecordingError for arguments that
        make no sense and for a resumed run of another network.
        """
        self.storage = open_storage(path)
        self.path = self.storage.local
        optimizers = plain_optimizers(optimizers)
        self._classes, self._hooked = [str(one) for one in classes], hooks
        check_options(optimizers, overhead, flush_seconds, on_error, hooks)
        wanted = Wanted(
            every,
            filters_every,
            activations if isinstance(activations, bool | str) else tuple(activations),
            activations_every,
            biases,
            tuple(statistics),
            snapshots if isinstance(snapshots, bool | str) else tuple(snapshots),
            snapshots_every,
            overhead,
            flush_seconds,
            resume,
            iteration,
        )
        description = describe(self.storage, name, model, self._classes, parameters)
        self._recording = Recording(self.storage, model, optimizers, wanted, description, on_error, hooks)

    @property
    def iteration(self) -> int:
        """Number of optimizer steps taken so far, over all sessions of the run: the number of the next iteration."""
        return self._recording.steps.iteration

    @property
    def overhead(self) -> float:
        """What recording has taken of the training's time so far, as a share, on the training's own thread."""
        return self._recording.steps.overhead

    @uncompiled
    def log(self, **scalars: Any) -> None:
        """Keep scalars (numbers, or tensors with one element) with the optimizer step that comes next.

        Call it before `optimizer.step()`. A name logged several times before a step gets the mean of its values.
        RecordingError for anything that is not one number.
        """
        recording = self._recording
        if recording.guard.clear or recording.going_on():
            log = recording.steps.pending.log
            for name, value in scalars.items():
                log(name, value)

    def validation(self, *, gather: bool = False) -> Validation:
        """Return a `with` block that collects one pass over the validation set, batch by batch, by its `log`.

        It is recorded at the current `iteration` (what the network is after that many steps) when the block ends
        without an error. There is one validation at an iteration: a second one is left out, with a warning.

        Of several ranks, what rank 0 logs is kept. With `gather`, each rank validates its own share of the images: they
        are brought together when the block ends, and every rank has to come there.
        """
        recording = self._recording
        recording.settle()
        return Validation(self.iteration, len(self._classes), recording.thumbnails, recording.keep, gather)

    def snapshot(self) -> None:
        """Keep the weights as they are now, of the layers in `snapshots`; a second one at an iteration is the same."""
        self._recording.snapshot()

    def schedule(
        self,
        *,
        every: Every | None = None,
        filters_every: Every | None = None,
        activations_every: Every | None = None,
        snapshots_every: Every | None = None,
        overhead: float | None = None,
    ) -> None:
        """Record at other intervals, or within another budget, from the step to come on; what is left out stays.

        For instance `schedule(every=1)` when the loss begins to rise. The change is noted in the run.
        RecordingError for intervals that make no sense, and for `activations_every` where none are recorded.
        """
        if overhead is not None:
            check_budget(overhead)
        recording = self._recording
        if snapshots_every is not None and isinstance(recording.steps, Bystander):
            recording.steps.change(snapshots_every)
        if not recording.going_on() or not recording.parts:
            return
        parts = recording.parts
        if activations_every is not None and parts.activations is None:
            raise RecordingError("activations_every was given, but the recorder was made without activations.")
        if snapshots_every is not None:
            parts.snapshots.change(snapshots_every)
        parts.steps.change(every, filters_every, activations_every, overhead)
        given: dict[str, Any] = {"every": every, "filters_every": filters_every, "activations_every": activations_every}
        given |= {"snapshots_every": snapshots_every, "overhead": overhead}
        said = {key: value for key, value in given.items() if value is not None}
        iteration = self.iteration
        parts.background.submit(lambda writer: writer.note("schedule", iteration=iteration, **said))

    @uncompiled
    def step(self) -> None:
        """Record one iteration by hand, after the optimizer has stepped; only with `hooks=False`.

        Gradients are recorded also where they are gone by now; then as backward made them, before any clipping.
        """
        if self._hooked:
            raise RecordingError("The optimizers' hooks record every step; pass hooks=False to call step() yourself.")
        self._recording.step()

    def flush(self) -> None:
        """Return when everything recorded so far is on disk, readable by others."""
        recording = self._recording
        if recording.going_on() and recording.parts:
            recording.settle()
            recording.parts.background.flush()
            recording.going_on()

    def close(self) -> None:
        """Write everything, close the run and let go of the optimizers; safe to call twice."""
        self._recording.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recording = self._recording
        if kind is not None and recording.parts and recording.going_on("warn"):
            said = {"kind": kind.__name__, "message": f"{error}"[:500], "iteration": self.iteration}
            recording.parts.background.submit(lambda writer: writer.note("training ended by an exception", **said))
        recording.close("warn" if kind is not None else "")
