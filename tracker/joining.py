"""Layers that join the model while it is trained, as in progressive growing, or when a new head is put on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.layers import RecordedLayer, find_layers


class Joining:
    """Notices when the optimizers are given more parameters: then the model is looked at again."""

    def __init__(self, model: nn.Module, biases: bool, optimizers: Sequence[Optimizer]) -> None:
        """Begin with the parameters that the optimizers have now."""
        self._model, self._biases, self._optimizers = model, biases, optimizers
        self._count = 0
        self.noticed()

    def noticed(self) -> bool:
        """Return whether the number of parameters has changed since this was asked last."""
        count = 0  # This comes at every step: a generator, or a function of its own, would take several times as long.
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                count += len(group["params"])
        changed = count != self._count
        self._count = count
        return changed

    def find(self, known: Sequence[RecordedLayer]) -> tuple[list[RecordedLayer], list[RecordedLayer]]:
        """Return the known layers, each where it is now, and those that have joined, in network order.

        A layer that was replaced by one of its name and shape goes on; RecordingError where the shape is another. One
        that has left the model stays, as it was left.
        """
        found = {one.layer.name: one for one in find_layers(self._model, self._biases)}
        still = []
        for one in known:
            now = found.pop(one.layer.name, one)
            if now.layer.shape != one.layer.shape:
                raise RecordingError(
                    f"Layer {one.layer.name!r} has changed its shape from {one.layer.shape} to {now.layer.shape}: a "
                    "run keeps its layers, record the changed model as a new run, or give the new layer a new name."
                )
            still.append(now)
        return still, list(found.values())
