"""What a click or a brush makes of what was chosen before. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def picked(before: Sequence[int], entities: Sequence[int], adding: bool) -> list[int]:
    """Return what is selected after a click on a row of some entities; `adding` with a modifier held.

    >>> picked([1, 2], [3], adding=False), picked([1, 2], [3], adding=True)
    ([3], [1, 2, 3])
    >>> picked([3], [3], adding=False), picked([1, 3], [3], adding=True)
    ([], [1])
    """
    if not adding:
        return [] if list(before) == list(entities) else list(entities)
    rest = [entity for entity in before if entity not in entities]
    return rest if len(rest) < len(before) else [*rest, *entities]


def toggled(before: Sequence[str], key: str) -> list[str]:
    """Return the keys with one of them added, or removed where it was there."""
    return [one for one in before if one != key] if key in before else [*before, key]


def whole_iterations(first: float, last: float) -> tuple[int, int] | None:
    """Return the iterations [start, stop) that a brush from one place to another reaches; None for a mere click."""
    low, high = sorted((first, last))
    return (max(0, math.floor(low)), math.ceil(high)) if high > low else None
