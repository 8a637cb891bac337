"""Where the values of every layer's weight and gradient lie in memory, found again at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.layers import RecordedLayer


class Sources:
    """Finds the tensors of the layers; this runs once per layer and step, so it asks torch as little as it can.

    What was found out about a weight is kept as long as its module holds the same tensor with its values in the same
    place. Gradients are new tensors at most steps: torch sees to it that they match the weight in shape and device.
    """

    def __init__(self, layers: Sequence[RecordedLayer]) -> None:
        self._layers = layers
        # Weight and address of those that the kernel can read as they are.
        self._known: list[tuple[Tensor, int]] = [_UNKNOWN] * len(layers)

    def locate(self, out: NDArray[np.uint64]) -> list[Tensor]:
        """Write the addresses of weights and gradients (0: none), contiguous float32, to the first two rows of `out`.

        Returns the copies that had to be made of tensors of other kinds: hold them until the addresses were used.
        RecordingError when a layer has changed its shape.
        """
        held: list[Tensor] = []
        weights, gradients = [], []
        known, float32, strided = self._known, torch.float32, torch.strided
        for number, recorded in enumerate(self._layers):
            weight, address = known[number]
            if (
                recorded.module._parameters.get(recorded.parameter) is not weight
                or weight.data_ptr() != address
                or weight.numel() != recorded.size
                or not weight.is_contiguous()
            ):
                weight, address = self._look(number, recorded, held)
            weights.append(address)
            gradient = weight.grad
            if gradient is None:
                gradients.append(0)
                continue
            readable = gradient.dtype is float32 and gradient.layout is strided and known[number][0] is weight
            if not (readable and gradient.is_contiguous()):
                gradient = recorded.arrange(gradient)
                held.append(gradient)
            gradients.append(gradient.data_ptr())
        out[0] = weights
        out[1] = gradients
        return held

    def _look(self, number: int, recorded: RecordedLayer, held: list[Tensor]) -> tuple[Tensor, int]:
        """Return the weight and the address of its values; what can be read in place is found there next time."""
        weight = recorded.weight
        values = check(recorded, recorded.arrange(weight))
        address = values.data_ptr()
        plain = weight.dtype is torch.float32 and weight.layout is torch.strided and weight.is_cpu
        if plain and recorded.groups == 0 and weight.is_contiguous() and weight.data_ptr() == address:
            self._known[number] = weight, address
        else:
            self._known[number] = _UNKNOWN
            held.append(values)
        return weight, address


_UNKNOWN = torch.empty(0), -1


def check(recorded: RecordedLayer, weight: Tensor) -> Tensor:
    """Return the weight; RecordingError when its number of values is not that of the layer."""
    if weight.numel() != recorded.size:
        raise RecordingError(
            f"Layer {recorded.layer.name!r} has changed its shape from {recorded.layer.shape} to "
            f"{tuple(weight.shape)}: a run keeps its layers, record the changed model as a new run."
        )
    return weight
