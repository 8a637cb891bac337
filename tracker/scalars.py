"""Scalars on their way to the run: what the user logs between two steps, and the learning rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from deeptracker.data_model.errors import RecordingError

LEARNING_RATE = "learning_rate"

_Rate = TypeVar("_Rate")


class Pending:
    """The scalars logged since the last step. A name logged several times (micro-batches) gets their mean.

    Values on the CPU are read at once; those on another device are kept as they are and read at the step, so that
    logging does not wait for the device.
    """

    def __init__(self) -> None:
        """Start with nothing logged."""
        self._values: dict[str, list[float | Tensor]] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def log(self, name: str, value: object) -> None:
        """Keep a number or a tensor of one element; RecordingError for anything else."""
        number, logged = _number(name, value), self._values.get(name)
        # Never an empty list, not even for a moment: a signal may end the training here, and the run is closed then.
        if logged is None:
            self._values[name] = [number]
        else:
            logged.append(number)

    def take(self) -> dict[str, float]:
        """Return what was logged, as numbers, and forget it."""
        taken, self._values = self._values, {}
        scalars: dict[str, float] = {}
        for name, values in taken.items():
            scalars[name] = float(values[0]) if len(values) == 1 else sum(map(float, values)) / len(values)
        return scalars

    def take_raw(self) -> dict[str, list[float | Tensor]]:
        """Return what was logged, all values of each name, tensors of other devices as such; and forget it."""
        taken, self._values = self._values, {}
        return taken


def _number(name: str, value: object) -> float | Tensor:
    if isinstance(value, Tensor):
        if value.is_cpu:
            # Torch says itself what is no single number: asked before, it would take as long again.
            try:
                return float(value.item())
            except (RuntimeError, TypeError, ValueError) as error:
                raise _no_number(name, value) from error
        if value.numel() == 1 and not value.is_complex():
            return value.detach().clone()
    elif not isinstance(value, str | bytes) and hasattr(value, "__float__"):
        return _converted(name, value)
    raise _no_number(name, value)


def _no_number(name: str, value: object) -> RecordingError:
    what = f"a {value.dtype} tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.80}"
    return RecordingError(f"recorder.log got {what} as {name!r}; give one number, or a tensor with one element.")


def _converted(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordingError(f"recorder.log got {value!r:.80} as {name!r}, which is no number: {error}.") from error


def learning_rates(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, float]:
    """Return the learning rate of every parameter group: `learning_rate`, then `learning_rate/1`, ..."""
    return _rates(optimizers, float)


def raw_learning_rates(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, float | Tensor]:
    """Return the same, with rates that lie on another device as they are."""
    return _rates(optimizers, lambda rate: rate if isinstance(rate, Tensor) and not rate.is_cpu else float(rate))


def _rates(optimizers: Sequence[torch.optim.Optimizer], read: Callable[[Any], _Rate]) -> dict[str, _Rate]:
    rates: dict[str, _Rate] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if "lr" in group:
                rates[f"{LEARNING_RATE}/{len(rates)}" if rates else LEARNING_RATE] = read(group["lr"])
    return rates
