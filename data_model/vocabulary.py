"""What a run is made of: statistics, layers, images. Plain descriptions that the store keeps and every view reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

SCALARS, LAYERS, FILTERS, CLASSES = "scalars", "layers", "filters", "classes"
ACTIVATIONS = "activations"

EVENTS = ("n-y", "y-n", "y-y", "n-n")
"""What happened to an image between two validations: learned, forgotten, stayed right, stayed wrong."""


@dataclass(frozen=True)
class _Described:
    """A frozen record that survives a round trip through JSON and ignores keys of later versions."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild the record from `to_json`, ignoring keys that this version does not know."""
        known = {field.name for field in fields(cls)}
        values = {key: _tuples(value) for key, value in record.items() if key in known}
        return cls(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Statistic(_Described):
    """One recorded quantity: its name, unit, meaning and source, carried by the store to every reader.

    `group` gathers statistics that belong together ("weight", "gradient", "update"); `logarithmic` says that its
    values are best read on a logarithmic scale.
    """

    name: str
    unit: str = ""
    meaning: str = ""
    source: str = ""
    group: str = ""
    logarithmic: bool = False


CLASS_STATISTICS = (
    Statistic("error", "share", "images of the class that are taken for another class"),
    Statistic("loss", "nat", "mean of -log(probability of the true class)"),
    Statistic("probability", "", "mean probability given to the true class"),
)
"""What is known of every class, and of all images together, at every validation."""


@dataclass(frozen=True)
class Layer(_Described):
    """One parameter-bearing module's weight tensor, in network order.

    `name` is the module's qualified name (`layer3.2.conv1`), `kind` its class (`Conv2d`), `shape` the weight's
    shape, whose first axis counts the filters (output channels). `filters` is the number of rows the layer has in
    the `filters` family: 0 for a layer that is recorded as a whole only.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    filters: int = 0

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def path(self) -> tuple[str, ...]:
        """The blocks above the layer, outermost first: `("layer3", "layer3.2")` for `layer3.2.conv1`."""
        parts = self.name.split(".")
        return tuple(".".join(parts[: depth + 1]) for depth in range(len(parts) - 1))


@dataclass(frozen=True)
class Description(_Described):
    """What a run says about itself, fixed at its creation: model, hyperparameters, class names, notes."""

    name: str = ""
    model: str = ""
    classes: tuple[str, ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()
    synthetic: bool = False
