"""Statistics of what chosen layers put out: mean, spread, and the share of units that are dead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deeptracker.data_model.missing import recorded
from deeptracker.data_model.vocabulary import Statistic
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.unsaved import Unsaved

_GROUP = "activation"
_PAPER = "Liu et al., DeepTracker, ACM TIST 2018 (arXiv 1808.08531)"
_DEAD = "a unit is dead in a batch where no output of it is above zero, cf. SageMaker Debugger, DeadRelu"

ACTIVATION_STATISTICS = (
    Statistic("activation_mean", "", "Mean of the layer's outputs", _PAPER, _GROUP),
    Statistic("activation_std", "", "Standard deviation of the layer's outputs", _PAPER, _GROUP, True),
    Statistic("activation_dead", "share", f"Share of dead units; {_DEAD}", _DEAD, _GROUP),
)

Float64 = NDArray[np.float64]

_CHANNELS_SECOND = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
)


class Activations:
    """Looks at the outputs of chosen layers in the forward passes of iterations that are due.

    Only in passes that gradients will flow through: a validation is none. A layer that runs several times in an
    iteration (micro-batches, weights shared over time) is described over all its outputs together. Values stay on
    their device until they are taken.
    """

    def __init__(self, layers: Sequence[RecordedLayer], chosen: Sequence[int]) -> None:
        """Hook the modules of the layers with the numbers `chosen`."""
        self.due = False
        self.seconds = 0.0
        """Time spent in hooks since the last `take`."""
        self._layers = len(layers)
        self._seen: dict[int, list[tuple[int, Tensor, Tensor, Tensor]]] = {}
        self._handles: list[RemovableHandle] = []
        hooked: set[int] = set()
        for number in chosen:
            module = layers[number].module
            # Two layers of one module (an attention's projections) share its outputs: told at the first.
            if id(module) not in hooked:
                hooked.add(id(module))
                self._handles.append(module.register_forward_hook(self._hook(number, module)))

    def close(self) -> None:
        """Let go of the modules."""
        for handle in self._handles:
            handle.remove()

    def take(self) -> Float64:
        """Return float64 (statistic, layer) of what was seen, missing for all else; and forget it."""
        values = np.full((len(ACTIVATION_STATISTICS), self._layers), np.nan)
        for number, parts in self._seen.items():
            values[:, number] = recorded(_together(parts))
        self._seen, self.seconds = {}, 0.0
        return values

    def _hook(self, number: int, module: nn.Module) -> Callable[..., None]:
        second = isinstance(module, _CHANNELS_SECOND)

        def look(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
            if not self.due or not torch.is_grad_enabled():
                return
            start = perf_counter()
            output = _first_tensor(outputs)
            if output is not None and output.numel() and output.is_floating_point():
                self._seen.setdefault(number, []).append(_summary(output.detach(), second))
            self.seconds += perf_counter() - start

        # A compiled model runs it between its compiled parts, instead of compiling what is due today into itself.
        return Unsaved(torch.compiler.disable(look))


def _first_tensor(outputs: Any) -> Tensor | None:
    while isinstance(outputs, tuple | list) and outputs:
        outputs = outputs[0]
    return outputs if isinstance(outputs, Tensor) else None


def _summary(output: Tensor, channels_second: bool) -> tuple[int, Tensor, Tensor, Tensor]:
    """Return number, mean and variance of the outputs, and which units have one above zero."""
    values = output.float()
    variance, mean = torch.var_mean(values, correction=0)
    unit = 1 if channels_second and values.ndim > 1 else values.ndim - 1
    others = [axis for axis in range(values.ndim) if axis != unit]
    highest = values.amax(dim=others) if others else values
    return values.numel(), mean, variance, highest > 0


def _together(parts: Sequence[tuple[int, Tensor, Tensor, Tensor]]) -> Float64:
    """Return mean, standard deviation and dead share over several passes (pairwise update of Chan et al., 1979)."""
    count, mean, squares = 0, 0.0, 0.0
    alive = parts[0][3].clone()
    for more, part_mean, variance, part_alive in parts:
        apart = float(part_mean) - mean
        count += more
        squares += float(variance) * more + apart * apart * more * (count - more) / count
        mean += apart * more / count
        alive |= part_alive
    return np.array([mean, np.sqrt(squares / count), 1.0 - float(alive.float().mean())])
