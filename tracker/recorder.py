"""The recorder: attach it to a training loop, and everything about the training is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.storage import open_storage
from deeptracker.tracker.assembly import Wanted, extend, find
from deeptracker.tracker.bystander import Bystander
from deeptracker.tracker.guard import Guard
from deeptracker.tracker.held import HeldGradients
from deeptracker.tracker.joining import Joining
from deeptracker.tracker.opening import describe
from deeptracker.tracker.options import (
    check_budget,
    check_options,
    check_parameters,
    found_inf,
    hook,
    plain_optimizers,
    uncompiled,
)
from deeptracker.tracker.own import OwnStatistic
from deeptracker.tracker.ranks import is_first, rank
from deeptracker.tracker.roles import take_role
from deeptracker.tracker.schedule import Every
from deeptracker.tracker.thumbnails import Thumbnails
from deeptracker.tracker.validation import Results, Validation


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
        self._optimizers = plain_optimizers(optimizers)
        self._last = self._optimizers[-1] if self._optimizers else None
        self._classes, self._hooked, self._on_error = [str(one) for one in classes], hooks, on_error
        check_options(self._optimizers, overhead, flush_seconds, on_error, hooks)
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
        layers = find(model, wanted)
        self._wanted, self._joining = wanted, Joining(model, biases, self._optimizers)
        if hooks:
            check_parameters(model, self._optimizers)
        self._guard = Guard(self.storage, on_error)
        description = describe(self.storage, name, model, self._classes, parameters)
        role = take_role(self.storage, description, layers, self._optimizers, wanted, self._guard, on_error)
        self._steps, self._layers, self._parts, self._sharded = role
        self._guard.iteration = lambda: self._steps.iteration
        self._thumbnails = self._parts.validations.thumbnails if self._parts else Thumbnails()
        self._held, self._dropped = None, False
        self._handles = hook(self._optimizers, self._before, self._after_step) if hooks else []
        if not hooks and self._parts:
            steps = self._parts.steps
            self._held = HeldGradients(self._layers, lambda: steps.due)
        if not hooks:
            self._before()

    @property
    def iteration(self) -> int:
        """Number of optimizer steps taken so far, over all sessions of the run: the number of the next iteration."""
        return self._steps.iteration

    @property
    def overhead(self) -> float:
        """What recording has taken of the training's time so far, as a share, on the training's own thread."""
        return self._steps.overhead

    @uncompiled
    def log(self, **scalars: Any) -> None:
        """Keep scalars (numbers, or tensors with one element) with the optimizer step that comes next.

        Call it before `optimizer.step()`. A name logged several times before a step gets the mean of its values.
        RecordingError for anything that is not one number.
        """
        if self._guard.clear or self._recording():
            log = self._steps.pending.log
            for name, value in scalars.items():
                log(name, value)

    def validation(self, *, gather: bool = False) -> Validation:
        """Return a `with` block that collects one pass over the validation set, batch by batch, by its `log`.

        It is recorded at the current `iteration` (what the network is after that many steps) when the block ends
        without an error. There is one validation at an iteration: a second one is left out, with a warning.

        Of several ranks, what rank 0 logs is kept. With `gather`, each rank validates its own share of the images: they
        are brought together when the block ends, and every rank has to come there.
        """
        self._settle()
        return Validation(self.iteration, len(self._classes), self._thumbnails, self._keep, gather)

    def snapshot(self) -> None:
        """Keep the weights as they are now, of the layers in `snapshots`; a second one at an iteration is the same."""
        if self._recording() and self._parts:
            self._settle()
            snapshots = self._parts.snapshots
            self._guard.attempt(lambda: snapshots.take(self.iteration))
        elif isinstance(self._steps, Bystander) and self._recording():
            self._guard.attempt(self._steps.snapshot)

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
        if snapshots_every is not None and isinstance(self._steps, Bystander):
            self._steps.change(snapshots_every)
        if not self._recording() or not self._parts:
            return
        if activations_every is not None and self._parts.activations is None:
            raise RecordingError("activations_every was given, but the recorder was made without activations.")
        if snapshots_every is not None:
            self._parts.snapshots.change(snapshots_every)
        self._parts.steps.change(every, filters_every, activations_every, overhead)
        given: dict[str, Any] = {"every": every, "filters_every": filters_every, "activations_every": activations_every}
        given |= {"snapshots_every": snapshots_every, "overhead": overhead}
        said = {key: value for key, value in given.items() if value is not None}
        iteration = self.iteration
        self._parts.background.submit(lambda writer: writer.note("schedule", iteration=iteration, **said))

    @uncompiled
    def step(self) -> None:
        """Record one iteration by hand, after the optimizer has stepped; only with `hooks=False`.

        Gradients are recorded also where they are gone by now; then as backward made them, before any clipping.
        """
        if self._hooked:
            raise RecordingError("The optimizers' hooks record every step; pass hooks=False to call step() yourself.")
        held = self._held
        try:
            if held is not None and self._recording():
                self._guard.attempt(held.lend)
            self._after()
        finally:
            if held is not None:
                held.take_back()
        if held is not None and self._recording():
            self._guard.attempt(held.watch)
        self._before()

    def flush(self) -> None:
        """Return when everything recorded so far is on disk, readable by others."""
        if self._recording() and self._parts:
            self._settle()
            self._parts.background.flush()
            self._recording()

    def close(self) -> None:
        """Write everything, close the run and let go of the optimizers; safe to call twice."""
        self._close(self._on_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._parts and self._recording("warn"):
            said = {"kind": kind.__name__, "message": f"{error}"[:500], "iteration": self.iteration}
            self._parts.background.submit(lambda writer: writer.note("training ended by an exception", **said))
        self._close("warn" if kind is not None else self._on_error)

    def _close(self, on_error: str) -> None:
        if self._guard.closed or not self._guard.ours:
            return
        for handle in self._handles:
            handle.remove()
        if self._held is not None:
            self._held.remove()
        if self._parts:
            self._settle()
            self._parts.end(self.overhead)
        try:
            self._recording(on_error)
        finally:
            self._guard.close()

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if optimizer is self._last:
            found = found_inf(optimizer)
            if found is None or not found.is_cpu:
                self._after(found)
            elif not found:
                self._after()

    def _before(self, *_: Any) -> None:
        # What comes at every step goes by few functions: each is fetched into the CPU's caches anew.
        if self._guard.clear or self._recording():
            if self._joining.noticed():
                self._guard.attempt(self._join)
            try:
                self._steps.before()
            except Exception as error:  # noqa: BLE001 - see Guard.attempt
                self._guard.fail(error)

    def _settle(self) -> None:
        """Keep what is still under way on a device; what comes now is no training."""
        self._guard.attempt(self._steps.settle)
        self._steps.pause()

    def _join(self) -> None:
        """Record the layers too that the model has got since."""
        # Ranks that hold shards would have to agree on when a layer joins.
        if self._parts and not self._sharded:
            known, found = self._joining.find(self._layers)
            if [*known, *found] == self._layers:
                return
            self._parts = extend(self._parts, known, found, self._wanted)
            self._layers = [*known, *found]
            if self._held is not None:
                self._held.extend(self._layers)

    def _after(self, found: Tensor | None = None) -> None:
        if self._guard.clear or self._recording():
            try:
                self._steps.after(found)
            except Exception as error:  # noqa: BLE001 - see Guard.attempt
                self._guard.fail(error)
            if self._parts and self._parts.snapshots.due(self._steps.iteration):
                self.snapshot()
        else:
            # The training loop may still ask for the iteration to decide when to validate.
            self._steps.count(found)

    def _keep(self, results: Results) -> None:
        if not self._recording() or not self._parts:
            if not is_first():
                self._say_dropped(len(results.ids))
            return
        validations = self._parts.validations
        if validations.last >= results.iteration:
            warnings.warn(f"A second validation at iteration {results.iteration} is left out.", stacklevel=3)
            return
        self._guard.attempt(lambda: validations.add(results))
        self._steps.pause()
        if self._parts.snapshots.granted():
            self.snapshot()

    def _say_dropped(self, images: int) -> None:
        """Warn once that only rank 0 records; this is another one."""
        if not self._dropped:
            self._dropped = True
            warnings.warn(
                f"Rank {rank()} has validated {images} images, and only rank 0 records: their results are dropped. "
                "Where each rank validates its own share, call recorder.validation(gather=True) on all.",
                RuntimeWarning,
                stacklevel=4,
            )

    def _recording(self, on_error: str = "") -> bool:
        """Return whether to record; report, once, what has stopped the background thread."""
        return self._guard.recording(on_error)
