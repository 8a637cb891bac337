"""What the recorder does at the steps of a rank that does not record."""

from __future__ import annotations

from deeptracker.tracker.scalars import Pending
from deeptracker.tracker.schedule import Every


class Bystander:
    """Counts iterations from `iteration` on, and keeps nothing: the recording rank's `Steps` without the recording."""

    due = False
    """No step's weights or gradients are recorded."""

    def __init__(self, iteration: int) -> None:
        """Start to count at an iteration."""
        self.iteration = iteration
        self.overhead = 0.0
        self.pending = Pending()

    def before(self) -> None:
        """Do nothing before a step."""

    def after(self) -> None:
        """Count a step."""
        self.iteration += 1

    def snapshot(self) -> None:
        """Keep nothing."""

    def change(self, snapshots_every: Every) -> None:
        """Keep nothing, whatever the interval."""

    def pause(self) -> None:
        """Do nothing: no time is measured."""
