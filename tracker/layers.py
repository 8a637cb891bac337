"""Finding the layers of a model, and laying out their weights with one filter per row.

Every floating-point parameter of a module is a layer, in network order: a module's `weight` under the module's name,
any other (`in_proj_weight` of an attention, `class_token`) under its own name behind the module's. Biases are left
out unless asked for. Modules that share one parameter are one layer, under the first one's name. Convolutions, linear
layers and projections are recorded per filter too; what has no output channels (a normalisation, a bias, an
embedding with its row per token) as a whole only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.vocabulary import Layer

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WITHOUT_FILTERS = (nn.Embedding, nn.EmbeddingBag)
_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}


@dataclass(frozen=True)
class RecordedLayer:
    """A layer's description, and the module and the name by which its parameter is found.

    The module is kept, not the parameter: `model.to(...)` and assignments replace the tensor.
    """

    layer: Layer
    module: nn.Module
    parameter: str
    groups: int
    """Groups of a transposed convolution, whose weight has its filters on the second axis; 0 for all others."""
    size: int
    """Number of weights."""

    @property
    def weight(self) -> Tensor:
        """The parameter as it is now; RecordingError when the module has lost it."""
        weight = self.module._parameters.get(self.parameter)
        if weight is None:
            raise RecordingError(f"Layer {self.layer.name!r} has no weight any more: record the changed model anew.")
        return weight

    def arrange(self, tensor: Tensor) -> Tensor:
        """Return a weight, or its gradient, as contiguous float32 on the CPU with the filters on the first axis.

        Returns the tensor itself where it is like that already; anything else is copied.
        """
        return self.arrange_here(tensor.detach().to("cpu"))

    def arrange_here(self, tensor: Tensor) -> Tensor:
        """Return the same on the device where the tensor is."""
        tensor = tensor.detach()
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense()
        return _filters_first(tensor.to(torch.float32), self.groups).contiguous()


def find_layers(model: nn.Module, biases: bool = False) -> list[RecordedLayer]:
    """Return the layers of a model in network order, with `biases` the biases among them.

    RecordingError when it has none, or some are not built yet.
    """
    seen: set[int] = set()
    names: set[str] = set()
    found = []
    for path, module in _modules(model):
        for key, parameter in module._parameters.items():
            if parameter is None or id(parameter) in seen or (_is_bias(key) and not biases):
                continue
            name = _layer_name(path, key, names)
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise RecordingError(
                    f"Layer {name!r} has no shape yet: run one batch through the model before recording."
                )
            if not parameter.is_floating_point() or parameter.numel() == 0:
                continue
            seen.add(id(parameter))
            names.add(name)
            found.append(_describe(name, module, key, parameter))
    if not found:
        kind = type(model).__name__
        raise RecordingError(f"{kind} has no layer with a weight: give the model that is trained, with its parameters.")
    return found


def select_layers(layers: Iterable[RecordedLayer], names: Iterable[str], option: str) -> list[int]:
    """Return the numbers of the layers that are named, or lie in a block that is; RecordingError for unknown ones."""
    listed, wanted = list(layers), list(names)
    chosen = set()
    for name in wanted:
        within = [n for n, one in enumerate(listed) if one.layer.name == name or name in one.layer.path]
        if not within:
            known = ", ".join(one.layer.name for one in listed[:8]) + (", ..." if len(listed) > 8 else "")
            raise RecordingError(f"{option} names {name!r}, which is no layer or block of the model; it has {known}.")
        chosen.update(within)
    return sorted(chosen)


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules under the names they have without what wraps them: compilation, parallelism, checkpointing."""
    parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    for name, module in model.named_modules():
        parts = [part for part in name.split(".") if part not in _WRAPPERS]
        if parallel and parts[0] == "module":
            del parts[0]
        yield ".".join(part for part in parts if part != "parametrizations"), module


def _layer_name(path: str, key: str, taken: set[str]) -> str:
    whole = f"{path}.{key}" if path else key
    short = path if key == "weight" and path else whole
    return whole if short in taken else short


def _is_bias(key: str) -> bool:
    return key.startswith("bias") or key.endswith("bias")


def _describe(name: str, module: nn.Module, key: str, parameter: Tensor) -> RecordedLayer:
    groups = int(getattr(module, "groups", 1)) if isinstance(module, _TRANSPOSED) and key == "weight" else 0
    shape = tuple(_filters_first(torch.empty(parameter.shape, device="meta"), groups).shape) or (1,)
    filters = shape[0] if len(shape) > 1 and _has_filters(module, key) else 0
    layer = Layer(name, _kind(module, key), shape, filters)
    return RecordedLayer(layer, module, key, groups, parameter.numel())


def _has_filters(module: nn.Module, key: str) -> bool:
    """Say whether the rows of a parameter are output channels: those of weights are, those of tokens are not."""
    if isinstance(module, _WITHOUT_FILTERS):
        return False
    return "weight" in key or isinstance(module, ParametrizationList)


def _kind(module: nn.Module, key: str) -> str:
    if _is_bias(key):
        return "Bias"
    return kind_of(module) if "weight" in key or isinstance(module, ParametrizationList) else "Parameter"


def kind_of(module: nn.Module) -> str:
    """Return the class of a module; FSDP2 makes it another one of the same, `FSDPConv2d` of `Conv2d`."""
    kind = type(module)
    sharded = any(base.__name__ == "FSDPModule" for base in kind.__mro__)
    return kind.__name__.removeprefix("FSDP") if sharded else kind.__name__


def _filters_first(tensor: Tensor, groups: int) -> Tensor:
    """Turn (in, out / groups, ...) of a transposed convolution into (out, in / groups, ...)."""
    if groups == 0:
        return tensor
    inputs, outputs, *kernel = tensor.shape
    grouped = tensor.reshape(groups, inputs // groups, outputs, *kernel)
    return grouped.transpose(1, 2).reshape(groups * outputs, inputs // groups, *kernel)
