"""Which part of which chunk goes where: an index along one axis, cut at the chunks' borders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Part(NamedTuple):
    """The part of an index that falls into chunk number `chunk`.

    `within` is an index into the chunk, `into` one into the result; None where a number takes the axis away.
    """

    chunk: int
    within: int | slice | NDArray[np.int64]
    into: slice | NDArray[np.int64] | None


def parts(index: Any, size: int, chunk: int) -> tuple[list[Part], int | None]:
    """Cut an index along an axis of `size` entries, and return the length of the result; None for a number.

    Takes what numpy takes along one axis: numbers, slices, lists of numbers, masks. Raises IndexError.
    """
    if isinstance(index, int | np.integer):
        number = int(index) + (size if index < 0 else 0)
        if not 0 <= number < size:
            raise IndexError(f"{index} does not lie within an axis of {size} entries")
        return [Part(number // chunk, number % chunk, None)], None
    if isinstance(index, slice):
        start, stop, step = index.indices(size)
        if step == 1:
            return _span(start, max(start, stop), chunk), max(0, stop - start)
        index = np.arange(start, stop, step)
    numbers = np.asarray(index)
    numbers = np.flatnonzero(numbers) if numbers.dtype == bool else _inside(numbers.astype(np.int64), size)
    return _scattered(numbers, chunk), len(numbers)


def _inside(numbers: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if np.any((numbers < -size) | (numbers >= size)):
        raise IndexError(f"{numbers.tolist()[:6]} do not all lie within an axis of {size} entries")
    return np.where(numbers < 0, numbers + size, numbers)


def _span(start: int, stop: int, chunk: int) -> list[Part]:
    found = []
    for number in range(start // chunk, -(-stop // chunk) if stop > start else start // chunk):
        first, last = max(start, number * chunk), min(stop, (number + 1) * chunk)
        within = slice(first - number * chunk, last - number * chunk)
        found.append(Part(number, within, slice(first - start, last - start)))
    return found


def _scattered(numbers: NDArray[np.int64], chunk: int) -> list[Part]:
    """Cut numbers in any order; those that lie side by side become slices, which copy faster."""
    found = []
    home = numbers // chunk
    for number in np.unique(home).tolist():
        into = np.flatnonzero(home == number)
        within = numbers[into] - number * chunk
        if _consecutive(within) and _consecutive(into):
            first, target, count = int(within[0]), int(into[0]), len(into)
            found.append(Part(number, slice(first, first + count), slice(target, target + count)))
        else:
            found.append(Part(number, within, into))
    return found


def _consecutive(numbers: NDArray[np.int64]) -> bool:
    return bool(numbers[-1] - numbers[0] == len(numbers) - 1) and bool(np.all(np.diff(numbers) == 1))
