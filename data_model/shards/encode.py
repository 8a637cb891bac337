"""From values to the bytes of a shard: chunk by chunk, as zarr's own sharding codec writes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray
from zarr.core.indexing import morton_order_iter

from deeptracker.data_model.shards.layout import Coordinates, ShardLayout

Region = tuple[slice, ...]
"""A part of an array: entries [start, stop) along each axis."""

Read = Callable[[Region], NDArray[Any]]
"""Returns the values of a part of an array, in the order of the array."""

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_NO_CHUNK = 2**64 - 1

_THOROUGH = Blosc("zstd", clevel=2, shuffle=Blosc.SHUFFLE)
"""How chunks that are mostly padding are compressed: LZ4 spends 20 bytes on two numbers and what pads them, this 9.
Level 5 would save another 3 to 10 %, and take three times as long. Blosc says in each chunk how it was compressed, so
every reader of the array reads these too."""


class ShardEncoder:
    """Makes the files of one array, of which never more than a chunk is in memory."""

    def __init__(self, layout: ShardLayout, blosc: Blosc | None) -> None:
        """Use `of` instead."""
        self.layout, self._blosc = layout, blosc

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> ShardEncoder | None:
        """Return the encoder of an array; None where its metadata asks for anything that is not known here."""
        layout = ShardLayout.of(metadata)
        if layout is None or layout.index_first:
            return None
        codecs = metadata["codecs"][0]["configuration"]["codecs"]
        wanted = next((codec["configuration"] for codec in codecs if codec["name"] == "blosc"), None)
        if wanted is None:
            return cls(layout, None)
        if wanted["typesize"] != layout.dtype.itemsize or wanted["shuffle"] not in _SHUFFLES:
            return None
        return cls(layout, Blosc(wanted["cname"], wanted["clevel"], _SHUFFLES[wanted["shuffle"]], wanted["blocksize"]))

    def shards(self, region: Region) -> Iterator[Coordinates]:
        """Return the shards in which a part of the array lies."""
        along = (
            range(one.start // size, -(-one.stop // size)) for one, size in zip(region, self.layout.shard, strict=True)
        )
        return itertools.product(*along)

    def content(self, shard: Coordinates, read: Read, *, thorough: bool = False) -> Iterator[bytes]:
        """Yield the bytes of a shard; `read` is asked for the part of each chunk that lies within the array.

        With `thorough` they are fewer, and take several times as long.
        """
        blosc = _THOROUGH if thorough and self._blosc is not None else self._blosc
        index, done = np.full((*self.layout.grid, 2), _NO_CHUNK, "<u8"), 0
        for place in morton_order_iter(self.layout.grid):
            region = self._region(shard, place)
            if all(one.start < one.stop for one in region):
                start = done
                for part in self._chunk(read(region), blosc):
                    done += len(part)
                    yield part
                index[place] = start, done - start
        yield from self._checked(index.tobytes(), self.layout.index_checked)

    def _region(self, shard: Coordinates, place: Coordinates) -> Region:
        layout = self.layout
        starts = (
            one * grid * chunk + number * chunk
            for one, number, grid, chunk in zip(shard, place, layout.grid, layout.chunk, strict=True)
        )
        sizes = zip(starts, layout.chunk, layout.shape, strict=True)
        return tuple(slice(start, min(start + chunk, size)) for start, chunk, size in sizes)

    def _chunk(self, values: NDArray[Any], blosc: Blosc | None) -> Iterator[bytes]:
        layout = self.layout
        if values.shape == layout.chunk:
            chunk = np.ascontiguousarray(values, layout.dtype)
        else:
            chunk = np.full(layout.chunk, layout.fill, layout.dtype)
            chunk[tuple(slice(size) for size in values.shape)] = values
        return self._checked(chunk.tobytes() if blosc is None else blosc.encode(chunk), layout.checked)

    @staticmethod
    def _checked(content: bytes, checked: bool) -> Iterator[bytes]:
        yield content
        if checked:
            yield int(google_crc32c.value(content)).to_bytes(4, "little")
