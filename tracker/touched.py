"""Noticing that weights were changed between two steps: by a loaded checkpoint, by clipping, by a swapped average.

Such a change is no step's. PyTorch counts the changes of every tensor in place, so it costs no look at the values;
changes through `weight.data` are not counted, and are taken for the next step's.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_

from torch import Tensor

from deeptracker.tracker.layers import RecordedLayer


class Touched:
    """Knows the weights of layers as they were at the last `note`, by identity and number of changes."""

    def __init__(self, layers: Sequence[RecordedLayer]) -> None:
        """Begin with nothing noted: everything counts as touched."""
        self._places = [(one.module._parameters, one.parameter) for one in layers]
        self._weights: list[Tensor | None] = []
        self._versions: list[int] = []

    def note(self) -> None:
        """Take the weights as they are now."""
        self._weights = [parameters.get(name) for parameters, name in self._places]
        self._versions = [0 if weight is None else weight._version for weight in self._weights]

    def since(self) -> bool:
        """Return whether any weight was changed or replaced since it was noted."""
        if not self._weights:
            return True
        now = [parameters.get(name) for parameters, name in self._places]
        same = all(map(is_, now, self._weights))
        return not same or [0 if weight is None else weight._version for weight in now] != self._versions
