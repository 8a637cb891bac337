"""What the recorder does at the steps of a rank that does not record."""

from __future__ import annotations

from torch import Tensor

from deeptracker.tracker.scalars import Pending
from deeptracker.tracker.schedule import Every


class Bystander:
    """Counts iterations from `iteration` on, and keeps nothing: the recording rank's `Steps` without the recording."""

    due = False
    """No step's weights or gradients are recorded."""
    overhead = 0.0
    """Nothing is recorded, and takes nothing."""

    def __init__(self, iteration: int) -> None:
        """Start to count at an iteration."""
        self._iteration = iteration
        self._found: Tensor | None = None
        self.pending = Pending()

    @property
    def iteration(self) -> int:
        """Number of steps taken."""
        self.settle()
        return self._iteration

    @iteration.setter
    def iteration(self, value: int) -> None:
        self._iteration = value

    def before(self) -> None:
        """Do nothing before a step."""

    def after(self, found: Tensor | None = None) -> None:
        """Count a step."""
        self.count(found)

    def count(self, found: Tensor | None = None) -> None:
        """Count a step; whether a gradient scaler `found` Inf and skipped it is asked when the device has told."""
        self.settle()
        self._iteration += 1
        self._found = found

    def settle(self) -> None:
        """Take the last step back, if it was none."""
        found, self._found = self._found, None
        if found is not None and bool(found):
            self._iteration -= 1

    def snapshot(self) -> None:
        """Keep nothing."""

    def change(self, snapshots_every: Every) -> None:
        """Keep nothing, whatever the interval."""

    def pause(self) -> None:
        """Do nothing: no time is measured."""
