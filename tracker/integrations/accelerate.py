"""The recorder for loops that Accelerate prepares."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from deeptracker.tracker.recorder import Recorder


def prepared_recorder(
    accelerator: Accelerator,
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizers: Optimizer | Iterable[Optimizer],
    **options: Any,
) -> Recorder:
    """Return the recorder of a model and optimizers that `accelerator.prepare` has made, with `Recorder`'s options.

    Call it on every process, after `prepare`. Batches between two steps of an accumulation are no iterations, and
    neither are steps that gradient scaling skips; losses logged in between are averaged.

    Example::

        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        with prepared_recorder(accelerator, "runs/mine", model, optimizer) as recorder:
            for x, y in loader:
                with accelerator.accumulate(model):
                    ...
    """
    options.setdefault("parameters", {"mixed_precision": accelerator.mixed_precision})
    return Recorder(path, accelerator.unwrap_model(model), optimizers, **options)
