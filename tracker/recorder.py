"""The recorder: attach it to a training loop, and everything about the training is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch import nn
from torch.optim import Optimizer

from deeptracker.data_model.errors import RecordingError, RunAccessError
from deeptracker.tracker.background import Background
from deeptracker.tracker.block import Block
from deeptracker.tracker.bystander import Bystander
from deeptracker.tracker.held import HeldGradients
from deeptracker.tracker.layers import find_layers
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.opening import describe, first_iteration, last_of, open_writer
from deeptracker.tracker.options import check_options, check_parameters, hook, skipped, uncompiled
from deeptracker.tracker.ranks import Announcement, is_first
from deeptracker.tracker.schedule import Every
from deeptracker.tracker.snapshots import SnapshotBudget
from deeptracker.tracker.steps import Steps, every_schedules
from deeptracker.tracker.validation import Results, Validation
from deeptracker.tracker.validation_log import ValidationLog

_BLOCKS = 3


class Recorder:
    """Records a training into a run at `path`, by a hook that every optimizer calls after its step.

    Recording never changes training: it reads tensors, changes none, and draws no random number of torch, numpy or
    Python. Iterations count optimizer steps from 0; with several optimizers an iteration ends with the step of the
    last one given. A step that a gradient scaler skipped is no iteration.

    The change of the weights is always that of ONE step, whatever the interval: where not every iteration is
    recorded, the weights are copied right before a step that will be. So values stay comparable when the interval
    changes; the statistic `interval` tells how many iterations a record stands for.

    Where several processes train one network (DDP), every rank makes its recorder with the same arguments, and the
    loop is the same on all of them: rank 0 records, on the others a recorder only counts iterations.

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
        overhead: float = 0.04,
        flush_seconds: float = 5.0,
        resume: bool = False,
        iteration: int | None = None,
        on_error: Literal["raise", "warn"] = "raise",
        name: str = "",
        classes: Iterable[str] = (),
        parameters: Mapping[str, Any] | None = None,
        biases: bool = False,
        snapshots: bool = True,
        hooks: bool = True,
    ) -> None:
        """Start a new run, or continue one.

        `every` and `filters_every` are the intervals of the layer and the filter statistics, in iterations; scalars
        are kept at every iteration. "auto" keeps the layers' share of the training time within `overhead`, and
        records the filters at every 16th iteration (or at every record of the layers, where those are rarer).
        `flush_seconds`: at most so much of the training is lost if the process is killed.
        `resume`: continue the run at `path` after its last committed iteration, or start it where there is none.
        `iteration`: the number of optimizer steps that the model has had already, as its checkpoint says. A resumed
        run goes on from there: what it holds of later iterations is cut off, and the cut is noted in it. Where it ends
        earlier, because its last seconds were lost, the gap is noted, with a warning.
        `on_error`: when recording fails (a full disk, a layer that changes its shape), raise RecordingError once, or
        warn once and let training go on unrecorded. What is wrong with a call's arguments is raised in any case.
        `name`, `classes` and `parameters` (hyperparameters) describe the run.
        `biases`: record the biases too, each as a layer of its own (`conv1.bias`).
        `snapshots`: keep the weights at validations too, for networks small enough: at most 64 MB in all, at every
        validation at first and more rarely later on. `snapshot()` keeps them at any time.
        `hooks`: with False no optimizer is hooked, and the training loop calls `step()` after every iteration.

        Raises RunExistsError where a run is and `resume` is not set, RunLockedError where another process records,
        RunAccessError where nothing can be written (unless `on_error` is "warn"), RecordingError for arguments that
        make no sense and for a resumed run of another network.
        """
        self.path = Path(path)
        self._process = os.getpid()
        self._optimizers = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
        self._classes = [str(one) for one in classes]
        self._hooked, self._on_error = hooks, on_error
        check_options(self._optimizers, overhead, flush_seconds, on_error, hooks)
        every_schedules(every, filters_every, overhead, 0)
        recorded = find_layers(model, biases)
        if hooks:
            check_parameters(model, self._optimizers)
        self._closed = self._failed = self._stands_by = False
        announcement = Announcement()
        if not is_first():
            self._stand_by(announcement.hear())
            return
        self._measure = Measure(recorded)
        layers = [one.layer for one in recorded]
        self._budget = SnapshotBudget(self._measure.bytes) if snapshots else None
        blocks = [Block(len(layers), sum(layer.filters for layer in layers)) for _ in range(_BLOCKS)]
        description = describe(self.path, name, model, self._classes, parameters)
        with announcement:
            try:
                writer = open_writer(self.path, description, layers, resume, iteration)
            except RunAccessError as error:
                if on_error == "raise":
                    raise
                self._stand_by({"iteration": iteration or 0})
                announcement.make({"iteration": self.iteration})
                self._fail(error, on_error)
                return
        first = first_iteration(writer, iteration)
        announcement.make({"iteration": first})
        shape = tuple(writer.manifest.thumbnail_shape)
        size = (shape[0], shape[1]) if shape else None
        pictured = writer.manifest.images if size else 0
        last_validation, self._last_snapshot = last_of(writer, "validation"), last_of(writer, "snapshots")
        self._background = Background(writer, blocks, flush_seconds)
        self._validations = ValidationLog(self._background, last_validation, pictured, size)
        schedules = every_schedules(every, filters_every, overhead, first)
        self._steps: Steps | Bystander = Steps(self._measure, self._optimizers, self._background, *schedules, first)
        self._handles = hook(self._optimizers, self._before_step, self._after_step) if hooks else []
        self._held = None if hooks else HeldGradients(recorded, lambda: self._steps.due)
        if not hooks:
            self._steps.before()

    def _stand_by(self, heard: Mapping[str, Any]) -> None:
        """Be the recorder of a rank that does not record: count iterations as rank 0 does, and keep nothing."""
        self._stands_by, self._held = True, None
        self._steps = Bystander(int(heard.get("iteration", 0)))
        self._handles = hook(self._optimizers, self._before_step, self._after_step) if self._hooked else []

    @property
    def iteration(self) -> int:
        """Number of optimizer steps taken so far, over all sessions of the run: the number of the next iteration."""
        return self._steps.iteration

    @uncompiled
    def log(self, **scalars: Any) -> None:
        """Keep scalars (numbers, or tensors with one element) with the optimizer step that comes next.

        Call it before `optimizer.step()`. A name logged several times before a step gets the mean of its values.
        RecordingError for anything that is not one number.
        """
        if self._recording():
            for name, value in scalars.items():
                self._steps.pending.log(name, value)

    def validation(self) -> Validation:
        """Return a `with` block that collects one pass over the validation set, batch by batch, by its `log`.

        It is recorded at the current `iteration` (what the network is after that many steps) when the block ends
        without an error. There is one validation at an iteration: a second one is left out, with a warning.
        """
        self._steps.pause()
        wants = (lambda _: False) if self._stands_by else self._validations.wants_thumbnail
        return Validation(self.iteration, len(self._classes), wants, self._keep)

    def snapshot(self) -> None:
        """Keep the weights of all layers as they are now; a second snapshot at one iteration would be the same."""
        if not self._recording() or self._last_snapshot >= self.iteration:
            return
        self._steps.pause()
        self._guard(self._snapshot)

    @uncompiled
    def step(self) -> None:
        """Record one iteration by hand, after the optimizer has stepped; only with `hooks=False`.

        Gradients are recorded also where they are gone by now; then as backward made them, before any clipping.
        """
        if self._hooked:
            raise RecordingError("The optimizers' hooks record every step; pass hooks=False to call step() yourself.")
        if self._recording():
            self._guard(self._by_hand)
        else:
            self._steps.iteration += 1

    def flush(self) -> None:
        """Return when everything recorded so far is on disk, readable by others."""
        if self._recording():
            self._background.flush()
            self._recording()

    def close(self) -> None:
        """Write everything, close the run and let go of the optimizers; safe to call twice."""
        self._close(self._on_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._recording("warn"):
            said = {"kind": kind.__name__, "message": f"{error}"[:500], "iteration": self.iteration}
            self._background.submit(lambda writer: writer.note("training ended by an exception", **said))
        self._close("warn" if kind is not None else self._on_error)

    def _close(self, on_error: str) -> None:
        if self._closed or os.getpid() != self._process:
            return
        for handle in self._handles:
            handle.remove()
        if self._held is not None:
            self._held.remove()
        if self._stands_by:
            self._closed = True
            return
        left = self._steps.pending.take()
        if left:
            iteration = self.iteration
            self._background.submit(
                lambda writer: writer.note("logged after the last step", at_iteration=iteration, **left)
            )
        self._background.close()
        try:
            self._recording(on_error)
        finally:
            self._closed = True

    def _snapshot(self) -> None:
        iteration, weights = self.iteration, self._measure.weights()
        self._last_snapshot = iteration
        self._background.submit(lambda writer: writer.append_snapshot(iteration, weights), self._measure.bytes)

    def _before_step(self, *_: Any) -> None:
        self._before()

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if optimizer is self._optimizers[-1] and not skipped(optimizer):
            self._after()

    def _by_hand(self) -> None:
        assert self._held is not None
        with self._held.lent():
            self._steps.after()
        self._held.watch()
        self._steps.before()

    def _before(self) -> None:
        if self._recording():
            self._guard(self._steps.before)

    def _after(self) -> None:
        if self._recording():
            self._guard(self._steps.after)
        else:
            # The training loop may still ask for the iteration to decide when to validate.
            self._steps.iteration += 1

    def _keep(self, results: Results) -> None:
        if not self._recording():
            return
        if self._validations.last >= results.iteration:
            warnings.warn(f"A second validation at iteration {results.iteration} is left out.", stacklevel=3)
            return
        self._guard(lambda: self._validations.add(results))
        self._steps.pause()
        if self._budget is not None and self._budget.grant():
            self.snapshot()

    def _recording(self, on_error: str = "") -> bool:
        """Return whether to record; report, once, what has stopped the background thread."""
        if os.getpid() != self._process or self._failed or self._stands_by:
            return False
        if self._closed:
            raise RecordingError(f"The recorder of {self.path} is closed: nothing can be recorded any more.")
        error = self._background.error
        if error is not None:
            self._fail(error, on_error or self._on_error)
        return error is None

    def _guard(self, record: Callable[[], None]) -> None:
        try:
            record()
        except Exception as error:  # noqa: BLE001 - whatever it is, training may be meant to go on without it.
            self._fail(error, self._on_error)

    def _fail(self, error: Exception, on_error: str) -> None:
        self._failed = True
        message = (
            f"Recording into {self.path} has stopped at iteration {self.iteration}: {type(error).__name__}: {error} "
            "What was committed before is kept; solve the cause and continue with resume=True."
        )
        if on_error == "raise":
            raise RecordingError(message) from error
        warnings.warn(message, RuntimeWarning, stacklevel=4)
