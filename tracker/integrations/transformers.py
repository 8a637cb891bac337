"""The callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from deeptracker.tracker.options import uncompiled
from deeptracker.tracker.ranks import is_first
from deeptracker.tracker.recorder import Recorder
from deeptracker.tracker.unsaved import Unsaved

Metrics = Callable[[Any], dict[str, float]]


class RecorderCallback(TrainerCallback):
    """Records a training of the Trainer into a run at `path`, closed when it ends.

    The loss is what the model returns while it trains, over the accumulated batches of a step. Validations are
    recorded of classifiers where the Trainer is given `compute_metrics=callback.judge(...)`. All other options are
    those of `Recorder`; with `resume=True` a training that continues from a checkpoint goes on from its step.

    The Trainer tells its callbacks of no exception: `close()` closes the run after one, or the end of the process.

    Example::

        recorded = RecorderCallback("runs/mine")
        trainer = Trainer(..., callbacks=[recorded], compute_metrics=recorded.judge(accuracy, ids=names))
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Keep what the recorder is made from when the training starts."""
        self.recorder: Recorder | None = None
        self._path, self._options = path, options
        self._losses: list[Tensor] = []
        self._shares = False
        self._handle: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Make the recorder: the model is on its device, and a checkpoint's weights are there."""
        options, model, optimizer = dict(self._options), kwargs["model"], kwargs["optimizer"]
        if options.get("resume") and state.global_step:
            options.setdefault("iteration", state.global_step)
        self.recorder = Recorder(self._path, model, optimizer, **options)
        self._handle = model.register_forward_hook(Unsaved(uncompiled(self._see)), with_kwargs=True)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log the loss of the step: the mean of its batches', or their sum where each is its share of the step's."""
        if self.recorder is not None and self._losses:
            losses = torch.stack(self._losses)
            self.recorder.log(loss=losses.sum() if self._shares else losses.mean())
        self._losses.clear()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the run."""
        self.close()

    def close(self) -> None:
        """Close the run; safe to call twice."""
        if self._handle is not None:
            self._handle.remove()
        recorder, self.recorder, self._handle = self.recorder, None, None
        if recorder is not None:
            recorder.close()

    def judge(self, metrics: Metrics | None = None, ids: Sequence[object] | None = None) -> Metrics:
        """Return a `compute_metrics` that records the validation too, with image ids in the order of the data set.

        Without `ids`, an image's id is its number. `metrics` is your own `compute_metrics`, called as ever.
        """

        def compute(prediction: Any) -> dict[str, float]:
            if self.recorder is not None:
                with self.recorder.validation() as validation:
                    logits = prediction.predictions
                    logits = logits[0] if isinstance(logits, tuple) else logits
                    targets = np.asarray(prediction.label_ids)
                    # Every process has been given the results of all.
                    if is_first():
                        names = range(len(targets)) if ids is None else ids
                        validation.log(names, logits=torch.as_tensor(logits), targets=torch.as_tensor(targets))
            return {} if metrics is None else metrics(prediction)

        return compute

    def _see(self, model: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        loss = output.get("loss") if hasattr(output, "get") else None
        if loss is not None and model.training:
            self._losses.append(loss.detach().mean())
            # As the Trainer decides it: a model that is told the number of items divides by it.
            self._shares = kwargs.get("num_items_in_batch") is not None
