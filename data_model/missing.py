"""Telling "not recorded here" from "recorded, and not a number".

In every float array of the store the plain NaN (the fill value) means that nothing was recorded. A value that was
recorded and is NaN carries payload 1. Both are NaN to every other program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_RECORDED_NAN = {4: 0x7FC00001, 8: 0x7FF8000000000001}
_MISSING_BITS = {4: 0x7FC00000, 8: 0x7FF8000000000000}


def recorded(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return measured float32 or float64 values with every NaN marked as recorded; a copy only where needed."""
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    marked: NDArray[np.floating[Any]] = np.array(values)
    bits(marked)[unknown] = _RECORDED_NAN[marked.dtype.itemsize]
    return marked


def narrowed(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float64 values as float32; what is missing stays missing, and a recorded NaN recorded."""
    narrow: NDArray[np.float32] = values.astype(np.float32)
    unknown = np.isnan(values)
    if unknown.any():
        marks = np.where(is_missing(values[unknown]), _MISSING_BITS[4], _RECORDED_NAN[4])
        bits(narrow)[unknown] = marks.astype(np.uint32)
    return narrow


def bits(values: NDArray[np.floating[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Return the same memory seen as unsigned integers of the same width."""
    return values.view(np.uint32 if values.dtype.itemsize == 4 else np.uint64)


def missing_bits(dtype: np.dtype[Any]) -> np.unsignedinteger[Any]:
    """Return the bit pattern of "not recorded" for float32 or float64.

    As wide as the values: compiled code compares a plain int with 64 unsigned bits as two floats, which are equal
    for this pattern and that of a recorded NaN.
    """
    pattern = _MISSING_BITS[dtype.itemsize]
    return np.uint32(pattern) if dtype.itemsize == 4 else np.uint64(pattern)


def is_missing(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return where nothing was recorded (plain NaN), as opposed to where a NaN was."""
    mask: NDArray[np.bool_] = bits(np.ascontiguousarray(values)) == missing_bits(values.dtype)
    return mask
