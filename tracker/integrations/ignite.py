"""The handler for Ignite's engines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer

from deeptracker.tracker.integrations.judging import Judge, log_batch
from deeptracker.tracker.options import plain_optimizers, skipped
from deeptracker.tracker.recorder import Recorder
from deeptracker.tracker.validation import Validation


class RecorderHandler:
    """Records an engine's training into a run at `path`, closed when the engine completes or fails.

    An iteration of the run is one of the engine in which the last optimizer stepped: batches in between, where
    gradients accumulate, count to the next one. `loss` makes the loss of the engine's output. All other options are
    those of `Recorder`.

    Example::

        recorded = RecorderHandler("runs/mine", model, optimizer)
        recorded.attach(trainer)
        recorded.attach_validation(evaluator, lambda batch, output: (batch[2], *output))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: nn.Module,
        optimizers: Optimizer | Iterable[Optimizer],
        *,
        loss: Callable[[Any], Any] = lambda output: output,
        **options: Any,
    ) -> None:
        """Keep what the recorder is made from when the engine starts."""
        self.recorder: Recorder | None = None
        self._path, self._model, self._options = path, model, options
        self._optimizers, self._loss = plain_optimizers(optimizers), loss
        self._stepped = False
        self._handle: Any = None
        self._validation: Validation | None = None
        self._context = ExitStack()

    def attach(self, engine: Engine) -> None:
        """Record this engine's training."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._record)
        engine.add_event_handler(Events.COMPLETED, self._end)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def attach_validation(self, evaluator: Engine, judge: Judge, *, gather: bool = False) -> None:
        """Record what this engine evaluates.

        `judge` makes (ids, logits, targets), or (ids, logits, targets, images), of its batch and its output.

        `gather`: every rank runs the evaluator on its own share of the images.
        """

        def begin() -> None:
            if self.recorder is not None:
                self._validation = self._context.enter_context(self.recorder.validation(gather=gather))

        def log(engine: Engine) -> None:
            if self._validation is not None:
                log_batch(self._validation, judge(engine.state.batch, engine.state.output))

        evaluator.add_event_handler(Events.EPOCH_STARTED, begin)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, log)
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._end_validation)

    def _start(self) -> None:
        self.recorder = Recorder(self._path, self._model, self._optimizers, hooks=False, **self._options)
        self._handle = self._optimizers[-1].register_step_post_hook(self._see_step)

    def _see_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._stepped = not skipped(optimizer)

    def _record(self, engine: Engine) -> None:
        """Log the loss and record the iteration: the engine tells its loss only after the step."""
        if self.recorder is None:
            return
        self.recorder.log(loss=self._loss(engine.state.output))
        if self._stepped:
            self._stepped = False
            self.recorder.step()

    def _end_validation(self) -> None:
        self._validation = None
        self._context.close()

    def _end(self, error: BaseException | None = None) -> None:
        if self._handle is not None:
            self._handle.remove()
        recorder, self.recorder, self._handle, self._validation = self.recorder, None, None, None
        # What an interrupted validation has collected is not kept.
        self._context.pop_all()
        if recorder is not None:
            recorder.__exit__(None if error is None else type(error), error, None)

    def _fail(self, engine: Engine, error: BaseException) -> None:
        self._end(error)
        # An engine with a handler for exceptions leaves it to that handler whether they go on.
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error
