"""What the recorder asks of whatever measures layers: on the CPU, on a device, or over several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.tracker.totals import Float64


class Measuring(Protocol):
    """Keeps the weights as they were before a step, and measures what the step did; changes nothing."""

    @property
    def layers(self) -> int:
        """Number of layers."""
        ...

    @property
    def before(self) -> Sequence[Tensor]:
        """The weights as they were remembered: float32, with the filters on the first axis, one tensor a layer."""
        ...

    @property
    def stale(self) -> bool:
        """Whether a weight was changed in place, or replaced, since all were remembered."""
        ...

    def bytes_of(self, chosen: Sequence[int]) -> int:
        """Bytes that the weights of the layers with these numbers take as float32."""
        ...

    def weights(self, chosen: Sequence[int]) -> list[NDArray[np.float32]]:
        """Return a copy of the weights of the layers with these numbers, in the shape of the description."""
        ...

    def remember(self) -> None:
        """Copy the weights as they are now: the next measurement tells what has changed since."""
        ...

    def measure(self, layers: Float64, filters: Float64 | None, *, remember: bool) -> None:
        """Measure weights, gradients and the change since `remember`.

        Writes float64 (layer, column of `totals`), and unless `filters` is None float64 (filter, column of `totals`) in
        network order. Columns behind those are left alone. With `remember`, the weights are copied in the same pass.
        """
        ...
