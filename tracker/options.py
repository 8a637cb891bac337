"""The recorder's arguments, checked; and the hooks it sets into optimizers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from deeptracker.data_model.errors import RecordingError

_callback: Callable[[], object] | None = None
_skip: Callable[[Any], Any] | None = None
with suppress(ImportError):
    # Neither has a public name: whether something is being compiled around a call, and to leave one function alone.
    from torch._C._dynamo.eval_frame import get_eval_frame_callback as _callback
    from torch._dynamo.decorators import skip as _skip

_P = ParamSpec("_P")
_R = TypeVar("_R")


def check_options(
    optimizers: Sequence[object], overhead: float, flush_seconds: float, on_error: str, hooks: bool
) -> None:
    """Raise RecordingError for arguments of the recorder that make no sense."""
    strangers = [type(one).__name__ for one in optimizers if not isinstance(one, Optimizer)]
    if strangers:
        raise RecordingError(f"optimizers holds a {strangers[0]}; give the torch optimizers that train the model.")
    if hooks and not optimizers:
        raise RecordingError("optimizers is empty; give at least one, or pass hooks=False and call step() yourself.")
    check_budget(overhead)
    if not (flush_seconds > 0 and math.isfinite(flush_seconds)):
        raise RecordingError(f"flush_seconds is {flush_seconds!r}; give seconds above 0.")
    if on_error not in ("raise", "warn"):
        raise RecordingError(f'on_error is {on_error!r}; give "raise" or "warn".')


def check_budget(overhead: float) -> None:
    """Raise RecordingError unless this is a share of the training's time."""
    if not 0 < overhead <= 1:
        raise RecordingError(f"overhead is {overhead!r}; give a share of the training time above 0, up to 1 (0.04).")


def plain_optimizers(optimizers: Optimizer | Iterable[Optimizer]) -> list[Optimizer]:
    """Return the optimizers whose hooks are called: Accelerate and Lightning wrap them in what has none of its own.

    A wrapper that is an optimizer in its own right (Lookahead) is kept: what it does after the inner step counts too.
    """
    listed = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    return [_plain(one) for one in listed]


def _plain(optimizer: Optimizer) -> Optimizer:
    inner = getattr(optimizer, "optimizer", None)
    if not isinstance(inner, Optimizer):
        return optimizer
    name = "_optimizer_step_post_hooks"
    own = vars(optimizer).get(name)
    return _plain(inner) if own is None or own is getattr(inner, name, None) else optimizer


def check_parameters(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Warn where the optimizers step other tensors than the model's, as loops with master weights do."""
    own = {id(one) for one in model.parameters()}
    stepped = (one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"])
    if optimizers and not any(id(one) in own for one in stepped):
        warnings.warn(
            "The optimizers hold none of the model's parameters. Where the weights are copied to the model after the "
            "optimizer's step, pass hooks=False and call recorder.step() when they are there.",
            RuntimeWarning,
            stacklevel=3,
        )


def uncompiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have `torch.compile` leave a function alone: it breaks the graph around it instead of looking inside.

    Where nothing is compiled the function is called as it is: what torch does around one that is disabled takes as long
    as much of what the recorder does itself.
    """
    disabled = cast(Callable[_P, _R], torch.compiler.disable(function))
    callback = _callback
    if callback is None or _skip is None:
        return disabled

    @wraps(function)
    def unless_compiled(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return function(*args, **kwargs) if callback() is None else disabled(*args, **kwargs)

    return cast(Callable[_P, _R], _skip(unless_compiled))


def hook(
    optimizers: Sequence[Optimizer], before: Callable[..., None], after: Callable[..., None]
) -> list[RemovableHandle]:
    """Have `before` and `after` called around every step of every optimizer; the handles undo it."""
    before, after = uncompiled(before), uncompiled(after)
    handles: list[Any] = []
    for optimizer in optimizers:
        handles += [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    return handles


def found_inf(optimizer: Optimizer) -> Tensor | None:
    """Return a tensor above zero where a gradient scaler makes a fused optimizer skip the step whose hook is running.

    Such an optimizer steps, and calls its hooks, even when the gradients hold Inf: the scaler leaves it a tensor
    that says so. Other optimizers are not called at all: None.
    """
    found: Tensor | None = getattr(optimizer, "found_inf", None)
    return found


def skipped(optimizer: Optimizer) -> bool:
    """Return whether the step was skipped so; on a device this waits for it."""
    found = found_inf(optimizer)
    return found is not None and bool(found)
