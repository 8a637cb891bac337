"""How often weight snapshots are taken by themselves, so that they never outgrow their budget."""

from __future__ import annotations

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
