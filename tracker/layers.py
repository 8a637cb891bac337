"""Finding the layers of a model, and laying out their weights with one filter per row.

A layer is every module with a floating-point `weight`, in network order. Modules that share one weight are one layer,
under the first one's name. Convolutions and linear layers are recorded per filter too; normalisation layers (one
axis) and embeddings (a row per token, not a filter) as a whole only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.vocabulary import Layer

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WITHOUT_FILTERS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class RecordedLayer:
    """A layer's description and the module that holds its weight.

    The module is kept, not the weight: `model.to(...)` and assignments replace the tensor.
    """

    layer: Layer
    module: nn.Module
    groups: int
    """Groups of a transposed convolution, whose weight has its filters on the second axis; 0 for all others."""
    size: int
    """Number of weights."""

    @property
    def weight(self) -> Tensor:
        """The weight as it is now; RecordingError when the module has lost it or its shape has changed."""
        weight = self.module._parameters.get("weight")
        if weight is None:
            raise RecordingError(f"Layer {self.layer.name!r} has no weight any more: record the changed model anew.")
        return weight

    def arrange(self, tensor: Tensor) -> Tensor:
        """Return a weight, or its gradient, as contiguous float32 on the CPU with the filters on the first axis.

        Returns the tensor itself where it is like that already; anything else is copied.
        """
        tensor = tensor.detach()
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        tensor = tensor.to(device="cpu", dtype=torch.float32)
        return _filters_first(tensor, self.groups).contiguous()


def find_layers(model: nn.Module) -> list[RecordedLayer]:
    """Return the layers of a model in network order; RecordingError when it has none, or some are not built yet."""
    seen: set[int] = set()
    found = []
    for name, module in _modules(model):
        weight = module._parameters.get("weight")
        if weight is None or id(weight) in seen:
            continue
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise RecordingError(f"Layer {name!r} has no shape yet: run one batch through the model before recording.")
        if not weight.is_floating_point() or weight.ndim == 0 or weight.numel() == 0:
            continue
        seen.add(id(weight))
        found.append(_describe(name, module, weight))
    if not found:
        kind = type(model).__name__
        raise RecordingError(f"{kind} has no layer with a weight: give the model that is trained, with its parameters.")
    return found


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules under the names they have without the wrappers of `torch.compile` and data parallelism."""
    parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    for name, module in model.named_modules():
        plain = ".".join(part for part in name.split(".") if part != "_orig_mod")
        plain = plain.removeprefix("module.") if parallel else plain
        yield plain or "weight", module


def _describe(name: str, module: nn.Module, weight: Tensor) -> RecordedLayer:
    groups = int(getattr(module, "groups", 1)) if isinstance(module, _TRANSPOSED) else 0
    shape = tuple(_filters_first(torch.empty(weight.shape, device="meta"), groups).shape)
    filters = 0 if weight.ndim < 2 or isinstance(module, _WITHOUT_FILTERS) else shape[0]
    return RecordedLayer(Layer(name, type(module).__name__, shape, filters), module, groups, weight.numel())


def _filters_first(tensor: Tensor, groups: int) -> Tensor:
    """Turn (in, out / groups, ...) of a transposed convolution into (out, in / groups, ...)."""
    if groups == 0:
        return tensor
    inputs, outputs, *kernel = tensor.shape
    grouped = tensor.reshape(groups, inputs // groups, outputs, *kernel)
    return grouped.transpose(1, 2).reshape(groups * outputs, inputs // groups, *kernel)
