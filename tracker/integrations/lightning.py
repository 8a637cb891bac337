"""The callback for Lightning's Trainer; works with `lightning` and with `pytorch_lightning`, whichever you use."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from deeptracker.tracker.integrations.judging import Judge, log_batch
from deeptracker.tracker.recorder import Recorder
from deeptracker.tracker.validation import Validation

NAMES = ("lightning.pytorch", "pytorch_lightning")


def _callback() -> Any:
    """Return the Callback class of the Lightning that is imported already, else of one that is installed."""
    names = sorted(NAMES, key=lambda name: name not in sys.modules)
    for name in names:
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise ImportError("RecorderCallback needs Lightning: pip install lightning.", name="lightning")


class RecorderCallback(_callback()):  # type: ignore[misc]
    """Records every fit of a Trainer into a run at `path`, closed when the fit ends or fails.

    An iteration is a step of the last optimizer, under automatic and manual optimization alike; the loss is what goes
    into backward, the mean over accumulated batches. `recorder` is there during a fit, for further scalars:
    `self.recorder.log(...)` within `training_step`.

    `validation` makes (ids, logits, targets), or (ids, logits, targets, images), of a batch and what `validation_step`
    returned; without it no images are recorded. All other options are those of `Recorder`. The callback's state in a
    checkpoint holds the iteration: `fit(ckpt_path=...)` with `resume=True` goes on from there, whatever the run holds
    beyond it.

    Example::

        recorded = RecorderCallback("runs/mine", validation=lambda batch, outputs: (batch[0], outputs, batch[2]))
        trainer = Trainer(callbacks=[recorded])
    """

    def __init__(self, path: str | os.PathLike[str], *, validation: Judge | None = None, **options: Any) -> None:
        """Keep what the recorder is made from when a fit starts."""
        super().__init__()
        self.recorder: Recorder | None = None
        self._path, self._judge, self._options = path, validation, options
        self._validation: Validation | None = None
        self._context = ExitStack()
        self._iteration: int | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the recorder: optimizers and the weights of a checkpoint are there now."""
        options = dict(self._options)
        if options.get("resume") and self._iteration is not None:
            options.setdefault("iteration", self._iteration)
        self.recorder = Recorder(self._path, pl_module, trainer.optimizers, **options)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Log the loss, without the factors of gradient scaling and accumulation."""
        if self.recorder is None:
            return
        loss = loss.detach()
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            loss = loss / scaler.scale(torch.ones_like(loss))
        if pl_module.automatic_optimization:
            loss = loss * trainer.accumulate_grad_batches
        self.recorder.log(loss=loss)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a validation, unless it is the sanity check before training."""
        if self.recorder is not None and self._judge is not None and not trainer.sanity_checking:
            # Every rank validates its share.
            validation = self.recorder.validation(gather=trainer.world_size > 1)
            self._validation = self._context.enter_context(validation)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Log a batch of the validation."""
        if self._validation is not None and self._judge is not None:
            log_batch(self._validation, self._judge(batch, outputs))

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the validation."""
        self._validation = None
        self._context.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the run, and say in it why."""
        self._end(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Close the run."""
        if stage == "fit":
            self._end(None)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the number of iterations so far."""
        return {"iteration": self._iteration if self.recorder is None else self.recorder.iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the number of iterations from a checkpoint."""
        self._iteration = state_dict["iteration"]

    def _end(self, error: BaseException | None) -> None:
        recorder, self.recorder, self._validation = self.recorder, None, None
        # What an interrupted validation has collected is not kept.
        self._context.pop_all()
        if recorder is not None:
            self._iteration = recorder.iteration
            recorder.__exit__(None if error is None else type(error), error, None)
