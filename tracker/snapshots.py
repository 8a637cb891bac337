"""When weights are kept whole, and of which layers: at validations within a budget, at an interval, and on request."""

from __future__ import annotations

from collections.abc import Sequence

from deeptracker.tracker.background import Background
from deeptracker.tracker.measuring import Measuring
from deeptracker.tracker.schedule import Every, check_every

SNAPSHOT_BYTES = 64 << 20
"""Bytes of automatic snapshots that one recorder writes, before compression."""

_FEWEST = 16


class SnapshotBudget:
    """Grants a snapshot at every validation at first, then at every 2nd, 4th, ... as the budget is used up.

    Half of the budget goes to the dense beginning, half of the rest to every second validation, and so on: however
    long training goes on, something is left. A network of which fewer than 16 snapshots fit gets none by itself.
    """

    def __init__(self, size: int, budget: int = SNAPSHOT_BYTES) -> None:
        """Take the bytes of one snapshot and of all of them."""
        self._size, self._left, self._budget = size, budget, budget
        self._since = 0

    def grant(self) -> bool:
        """Return whether to take a snapshot at this validation."""
        if self._size * _FEWEST > self._budget:
            return False
        self._since += 1
        if self._since < self.stride or self._size > self._left:
            return False
        self._since = 0
        self._left -= self._size
        return True

    @property
    def stride(self) -> int:
        """Validations from one snapshot to the next."""
        stride = 1
        while stride < 1 << 30 and self._left * 2 * stride <= self._budget:
            stride *= 2
        return stride


class Snapshots:
    """Keeps the weights of chosen layers. One iteration has one snapshot: a second one would be the same."""

    def __init__(
        self,
        measure: Measuring,
        background: Background,
        chosen: Sequence[int],
        automatic: bool,
        every: Every,
        last: int,
    ) -> None:
        """Keep the layers with the numbers `chosen`; the last snapshot of the run so far was at iteration `last`.

        With an `every`, at each such iteration; else where `automatic`, at validations as the budget allows.
        """
        self._background, self._last = background, last
        self.take_over(measure, chosen)
        self._automatic, self._budget = automatic, SnapshotBudget(self._bytes)
        self._every: Every = "auto"
        self.change(every)

    def take_over(self, measure: Measuring, chosen: Sequence[int]) -> None:
        """Go on with other layers."""
        self._measure, self._chosen = measure, list(chosen)
        self._bytes = measure.bytes_of(self._chosen)

    def change(self, every: Every) -> None:
        """Take another interval; RecordingError for one that makes no sense."""
        self._every = every if every == "auto" else check_every("snapshots_every", every)

    def due(self, iteration: int) -> bool:
        """Return whether an interval asks for a snapshot after that many steps."""
        return self._every != "auto" and iteration % self._every == 0

    def granted(self) -> bool:
        """Return whether the budget grants a snapshot at the validation that has just been."""
        return self._automatic and self._every == "auto" and self._budget.grant()

    def take(self, iteration: int) -> None:
        """Keep the weights as they are now."""
        if iteration <= self._last:
            return
        self._last = iteration
        weights, chosen = self._measure.weights(self._chosen), self._chosen
        self._background.submit(lambda writer: writer.append_snapshot(iteration, weights, chosen), self._bytes)
