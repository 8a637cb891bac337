"""The classes of images over time: what each was first given, and a table of the changes since.

Both only ever grow, so whoever reads a commit finds the classes of that commit, whatever was written since.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int32]

CHANGE = ("image", "iteration", "before", "after")
"""Columns of the table of changes: row of the image, iteration of the validation, class before and after."""


def no_changes() -> NDArray[np.int64]:
    """Return an empty table of changes."""
    return np.zeros((0, len(CHANGE)), np.int64)


def classes_at(newest: Classes, changes: NDArray[np.int64], iteration: int) -> Classes:
    """Return the class that every image had at a validation, from its newest class and the table of changes.

    `changes` has a row (image, iteration of the change, class before, class after) per change, in order of time.
    Images that came later have the class they came with.
    """
    later = changes[changes[:, 1] > iteration][::-1]
    if not len(later):
        return newest
    then = newest.copy()
    then[later[:, 0]] = later[:, 2]  # of several changes of an image the first one is put back last
    return then


def first_classes(classes: Classes, changes: NDArray[np.int64]) -> Classes:
    """Return the classes (images,) that images had before all of the changes (n, 4), given those at any time.

    >>> first_classes(np.array([5, 7], np.int32), np.array([[1, 10, 3, 4], [1, 20, 4, 7]])).tolist()
    [5, 3]
    """
    return classes_at(classes, changes, -1)


def classes_after(first: Classes, changes: NDArray[np.int64]) -> Classes:
    """Return the classes (images,) that images have after the changes (n, 4), which come in order.

    >>> classes_after(np.array([5, 3], np.int32), np.array([[1, 10, 3, 4], [1, 20, 4, 7]])).tolist()
    [5, 7]
    """
    found = first.copy()
    found[changes[:, 0]] = changes[:, 3]
    return found
