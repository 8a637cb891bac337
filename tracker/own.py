"""A user's own statistics: a function of a layer's tensors, recorded like those that come with DeepTracker."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import recorded as recorded_values
from deeptracker.data_model.vocabulary import Statistic
from deeptracker.tracker.layers import RecordedLayer

GIVEN = ("weight", "gradient", "before")
"""What a statistic may ask for, by the names of its parameters."""

Float64 = NDArray[np.float64]
MISSING = np.nan
_GROUP = "own"


@dataclass(frozen=True)
class OwnStatistic:
    """A statistic that a user's function computes; made by `statistic`."""

    statistic: Statistic
    function: Callable[..., Any]
    per: Literal["layer", "filter"]
    takes: tuple[str, ...]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself, so that it stays one."""
        return self.function(*arguments, **named)


@overload
def statistic(function: Callable[..., Any]) -> OwnStatistic: ...
@overload
def statistic(
    *,
    name: str = ...,
    unit: str = ...,
    meaning: str = ...,
    source: str = ...,
    per: Literal["layer", "filter"] = ...,
    logarithmic: bool = ...,
) -> Callable[[Callable[..., Any]], OwnStatistic]: ...


def statistic(
    function: Callable[..., Any] | None = None,
    *,
    name: str = "",
    unit: str = "",
    meaning: str = "",
    source: str = "",
    per: Literal["layer", "filter"] = "layer",
    logarithmic: bool = False,
) -> OwnStatistic | Callable[[Callable[..., Any]], OwnStatistic]:
    """Make a function a statistic that `Recorder(..., statistics=[...])` records of every layer, or every filter.

    The function names what it wants: `weight`, `gradient` (None where there is none) and `before` (the weight before
    the step), each float32, detached, on the CPU, with the filters on the first axis. It returns a number or a tensor
    of one element, with `per="filter"` one value per filter; None leaves a layer out. It must not change its arguments
    and draw no random numbers. Its cost counts towards the recorder's budget.

    The statistic's name is the function's, its meaning the first line of the docstring. Raises RecordingError for
    a function that asks for anything else.

    Example::

        @statistic(logarithmic=True)
        def spectral_norm(weight):
            "Largest singular value of the weights"
            return torch.linalg.matrix_norm(weight.flatten(1), 2) if weight.ndim > 1 else None
    """

    def wrap(wrapped: Callable[..., Any]) -> OwnStatistic:
        called = name or wrapped.__name__
        takes = tuple(inspect.signature(wrapped).parameters)
        if not takes or set(takes) - set(GIVEN):
            raise RecordingError(
                f"The statistic {called!r} takes ({', '.join(takes)}); a statistic is a function of some of "
                f"{', '.join(GIVEN)}."
            )
        if per not in ("layer", "filter"):
            raise RecordingError(f'The statistic {called!r} is per {per!r}; give per="layer" or per="filter".')
        said = meaning or (inspect.getdoc(wrapped) or "").split("\n")[0].rstrip(".")
        described = Statistic(called, unit, said, source or "own statistic", _GROUP, logarithmic)
        return OwnStatistic(described, wrapped, per, takes)

    return wrap if function is None else wrap(function)


class OwnStatistics:
    """Measures own statistics of all layers into the columns behind the kernel's."""

    def __init__(self, statistics: Sequence[OwnStatistic], layers: Sequence[RecordedLayer]) -> None:
        """Try every statistic on every layer once; RecordingError for one that fails, or whose name is taken."""
        for one in statistics:
            if not isinstance(one, OwnStatistic):
                raise RecordingError(f"statistics holds {one!r:.80}; give functions decorated with @statistic.")
        self.per_layer = [one for one in statistics if one.per == "layer"]
        self.per_filter = [one for one in statistics if one.per == "filter"]
        self._layers = layers
        for recorded in layers:
            weight = recorded.arrange(recorded.weight)
            self._measure_layer(recorded, weight, torch.zeros_like(weight), weight)

    @property
    def wants_before(self) -> bool:
        """Whether one of them compares with the weights before the step."""
        return any("before" in one.takes for one in (*self.per_layer, *self.per_filter))

    def measure(self, before: Sequence[Tensor], of_layers: Float64, of_filters: Float64) -> None:
        """Write float64 (layer, statistic) and (filter, statistic); missing where a statistic leaves a layer out.

        `before` holds the layers' weights before the step, float32, with the filters on the first axis.
        """
        first = 0
        for number, recorded in enumerate(self._layers):
            weight = recorded.weight
            gradient = None if weight.grad is None else recorded.arrange(weight.grad)
            layer, filters = self._measure_layer(recorded, recorded.arrange(weight), gradient, before[number])
            of_layers[number] = layer
            of_filters[first : first + recorded.layer.filters] = filters
            first += recorded.layer.filters

    @torch.no_grad()
    def _measure_layer(
        self, recorded: RecordedLayer, weight: Tensor, gradient: Tensor | None, before: Tensor
    ) -> tuple[list[float], Float64]:
        count = recorded.layer.filters
        shape = recorded.layer.shape
        given = {
            "weight": weight.view(shape),
            "gradient": None if gradient is None else gradient.view(shape),
            "before": before.view(shape),
        }
        layer = [float(self._values(one, recorded, given, 1)[0]) for one in self.per_layer]
        filters = np.empty((count, len(self.per_filter)))
        for column, one in enumerate(self.per_filter if count else ()):
            filters[:, column] = self._values(one, recorded, given, count)
        return layer, filters

    @staticmethod
    def _values(one: OwnStatistic, recorded: RecordedLayer, given: dict[str, Tensor | None], count: int) -> Float64:
        name, layer = one.statistic.name, recorded.layer
        try:
            value = one.function(**{key: given[key] for key in one.takes})
        except Exception as error:
            raise RecordingError(
                f"The statistic {name!r} failed on layer {layer.name!r} of shape {layer.shape}: "
                f"{type(error).__name__}: {error}. Return None for layers that it cannot be computed of."
            ) from error
        if value is None:
            return np.full(count, MISSING)
        try:
            values = np.asarray(torch.as_tensor(value).detach().cpu(), np.float64).reshape(-1)
        except (TypeError, ValueError, RuntimeError) as error:
            raise RecordingError(
                f"The statistic {name!r} returned {value!r:.80}; return numbers or a tensor."
            ) from error
        if len(values) != count:
            wanted = "one value" if one.per == "layer" else f"{count} values, one per filter,"
            raise RecordingError(
                f"The statistic {name!r} returned {len(values)} values for layer {layer.name!r}; {wanted} was expected."
            )
        return np.asarray(recorded_values(values), np.float64)
