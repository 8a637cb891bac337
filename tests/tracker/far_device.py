"""A device that is not there: its tensors lie on the CPU, and whoever would wait for it is found out.

Tensors of `FAR` hold others on the CPU and do what those do, so that a training computes what it would anywhere. What
CUDA's stream would have to be waited for is an error: reading a value, a shape that depends on values, and a copy from
or to the host that is not `non_blocking`, that of Python's numbers into a new tensor too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")
"""What it calls itself: a kind of device that every build of PyTorch knows, and that nothing else here lies on."""

_READS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "_unique2"}
_INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}


class WaitError(AssertionError):
    """The host would have waited for the device."""


class Far(Tensor):
    """A tensor of the far device; `near` holds its values."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        made = Tensor._make_wrapper_subclass(
            cls, near.shape, near.stride(), near.storage_offset(), dtype=near.dtype, device=FAR
        )
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(operation, args, kwargs or {})


class FarDevice(TorchDispatchMode):
    """While it is entered, tensors are made on the far device where that is asked for."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(operation, args, kwargs or {})


def send(model: nn.Module) -> nn.Module:
    """Move a model to the far device, which may be waited for."""
    sent: dict[int, nn.Parameter] = {}  # what modules share stays shared
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                far = nn.Parameter(Far(parameter.detach()), parameter.requires_grad)
                module._parameters[name] = sent.setdefault(id(parameter), far)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else Far(buffer)
    return model


def _done(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do on the CPU what is asked of tensors of either kind."""
    given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    name = operation._schema.name.removeprefix("aten::")
    _refuse_waits(name, args, kwargs, given)
    far = any(isinstance(one, Far) for one in given)
    if kwargs.get("device") is not None:
        far = torch.device(kwargs["device"]) == FAR
        kwargs = {**kwargs, "device": "cpu"}
    outer = {id(one.near): one for one in given if isinstance(one, Far)}
    found = operation(*tree_map(_near, args), **tree_map(_near, kwargs))
    mine = {id(one) for one in given}

    def back(one: Any) -> Any:
        if not isinstance(one, Tensor) or id(one) in mine:
            return one
        return outer.get(id(one)) if id(one) in outer else Far(one) if far else one

    return tree_map(back, found)


def _near(one: Any) -> Any:
    return one.near if isinstance(one, Far) else one


def _refuse_waits(name: str, args: Any, kwargs: dict[str, Any], given: list[Tensor]) -> None:
    if any(one.device == FAR and not isinstance(one, Far) for one in given):
        raise WaitError(f"{name}: numbers of Python's are copied to the device")
    if not any(isinstance(one, Far) for one in given):
        return
    if name in _READS:
        raise WaitError(f"{name} reads values")
    if name in _INDEXES and any(one.dtype in (torch.bool, torch.uint8) for one in given[1:]):
        raise WaitError(f"{name} by a mask has a size that depends on values")
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        raise WaitError(f"{name} has a size that depends on values")
    if name == "segment_reduce" and not kwargs.get("unsafe"):
        raise WaitError(f"{name} looks at the lengths")
    if name == "_to_copy" and not kwargs.get("non_blocking"):
        goal = kwargs.get("device")
        if goal is not None and torch.device(goal) != FAR:
            raise WaitError(f"{name} to the host")
    if name in ("copy_", "_foreach_copy_") and not (kwargs.get("non_blocking") or True in args[2:]):
        pairs = [args[:2]] if name == "copy_" else zip(*args[:2], strict=True)
        if any(isinstance(one, Far) != isinstance(other, Far) and other.ndim for one, other in pairs):
            raise WaitError(f"{name} between host and device")
