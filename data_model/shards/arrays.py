"""An array of a run, read directly where its layout is known, and through zarr where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from deeptracker.data_model.shards.reader import Piece


class ReadableArray(Protocol):
    """What the readers of a run ask of an array."""

    @property
    def path(self) -> str:
        """The path of the array in its run."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""

    def read(self, index: Sequence[Any]) -> NDArray[Any]:
        """Return a selection, an index along each axis, each for itself."""

    def pieces(self, index: Sequence[Any]) -> Iterator[Piece]:
        """Return a selection in pieces, none larger than a chunk need be."""

    def gathered(self, index: Sequence[Any]) -> Iterator[Piece]:
        """Return the same for few entries that lie far apart, over a slice of the last axis."""


class ZarrArray:
    """Reads through zarr."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        """Take the array."""
        self._array = array

    @property
    def path(self) -> str:
        """The path of the array in its run."""
        return self._array.path

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._array.shape

    def read(self, index: Sequence[Any]) -> NDArray[Any]:
        """Return a selection, an index along each axis, each for itself."""
        return np.asarray(self._array.oindex[tuple(index)])

    def pieces(self, index: Sequence[Any]) -> Iterator[Piece]:
        """Return a selection in one piece."""
        numbers = [isinstance(one, int | np.integer) for one in index]
        chunk = self.read([slice(one, one + 1) if number else one for one, number in zip(index, numbers, strict=True)])
        within = tuple(0 if number else slice(0, size) for number, size in zip(numbers, chunk.shape, strict=True))
        if chunk.size:
            yield Piece(chunk, within, tuple(one for one in within if isinstance(one, slice)))

    def gathered(self, index: Sequence[Any]) -> Iterator[Piece]:
        """Return a selection in one piece."""
        return self.pieces(index)
