"""Noticing that weights were changed between two steps: by a loaded checkpoint, by clipping, by a swapped average.

Such a change is no step's. PyTorch counts the changes of every tensor in place, so it costs no look at the values;
changes through `weight.data` are not counted, and are taken for the next step's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_

from torch import Tensor

from deeptracker.tracker.layers import RecordedLayer

_version: Callable[[object], int] = attrgetter("_version")


class Touched:
    """Knows the weights of layers as they were at the last `note`, by identity and number of changes."""

    def __init__(self, layers: Sequence[RecordedLayer]) -> None:
        """Begin with nothing noted: everything counts as touched."""
        self._holders = [one.module._parameters for one in layers]
        self._names = [one.parameter for one in layers]
        self._weights: list[Tensor | None] = []
        self._versions: list[int] = []

    def now(self) -> list[Tensor | None]:
        """Return the weights as they are now; None where a module has lost its own."""
        return list(map(dict.get, self._holders, self._names))

    def note(self, weights: list[Tensor | None] | None = None) -> None:
        """Take the weights as they are now: those that `now` has just returned, or look again."""
        self._weights = self.now() if weights is None else weights
        self._versions = list(map(_version, self._weights))

    def since(self) -> bool:
        """Return whether any weight was changed or replaced since it was noted."""
        if not self._weights:
            return True
        # This comes at every step: built-in functions over lists take a third of the time that loops do.
        same = all(map(is_, self.now(), self._weights))
        return not same or list(map(_version, self._weights)) != self._versions
