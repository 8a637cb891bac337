"""How a zarr array lies in its shards, as the array's own metadata says it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Coordinates = tuple[int, ...]

_TYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")
_CHECKSUM_BYTES = 4
_MOST_OVERHEAD = 64


@dataclass(frozen=True)
class ShardLayout:
    """Shapes of an array, of its shards and of the chunks in them, and how bytes become values.

    `compressed` chunks are blosc's; `checked` ones end with a crc32c of what is before it, as do indexes that are
    `index_checked`. Follows the sharding codec of the zarr specification, version 3.
    """

    shape: Coordinates
    shard: Coordinates
    chunk: Coordinates
    dtype: np.dtype[Any]
    fill: Any
    compressed: bool
    checked: bool
    index_checked: bool
    index_first: bool
    separator: str

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> ShardLayout | None:
        """Return the layout of an array; None where its metadata asks for anything that is not known here."""
        try:
            return _layout(metadata)
        except (KeyError, TypeError, ValueError, IndexError):
            return None

    @cached_property
    def grid(self) -> Coordinates:
        """Chunks per shard along each axis."""
        return tuple(shard // chunk for shard, chunk in zip(self.shard, self.chunk, strict=True))

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @cached_property
    def most_bytes(self) -> int:
        """Bytes that an encoded chunk has at most: what blosc cannot compress grows by its header."""
        return self.chunk_bytes + _MOST_OVERHEAD

    @cached_property
    def index_bytes(self) -> int:
        """Bytes of a shard's index."""
        return 16 * math.prod(self.grid) + (_CHECKSUM_BYTES if self.index_checked else 0)

    def name(self, shard: Coordinates) -> str:
        """Return the file of a shard, relative to the array."""
        return self.separator.join(("c", *map(str, shard)))

    def extent(self, shard: Coordinates) -> Coordinates:
        """Return how much of a shard lies within the array."""
        return tuple(
            max(0, min(size, whole - number * size))
            for number, size, whole in zip(shard, self.shard, self.shape, strict=True)
        )


def _layout(metadata: Mapping[str, Any]) -> ShardLayout | None:
    grid, keys = metadata["chunk_grid"], metadata["chunk_key_encoding"]
    codecs: Sequence[Mapping[str, Any]] = metadata["codecs"]
    known = metadata["data_type"] in _TYPES and grid["name"] == "regular" and keys["name"] == "default"
    if not known or metadata.get("storage_transformers") or [one["name"] for one in codecs] != ["sharding_indexed"]:
        return None
    sharding = codecs[0]["configuration"]
    names = _names(sharding["codecs"])
    index = _names(sharding["index_codecs"])
    if names[0] != "bytes" or names[1:] not in ([], ["blosc"], ["crc32c"], ["blosc", "crc32c"]):
        return None
    if index not in (["bytes"], ["bytes", "crc32c"]):
        return None
    dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    layout = ShardLayout(
        shape=tuple(int(size) for size in metadata["shape"]),
        shard=tuple(int(size) for size in grid["configuration"]["chunk_shape"]),
        chunk=tuple(int(size) for size in sharding["chunk_shape"]),
        dtype=dtype,
        fill=_fill(metadata["fill_value"], dtype),
        compressed="blosc" in names,
        checked="crc32c" in names,
        index_checked="crc32c" in index,
        index_first=sharding.get("index_location", "end") == "start",
        separator=str(keys.get("configuration", {}).get("separator", "/")),
    )
    sizes = zip(layout.shard, layout.chunk, strict=True)
    if len(layout.shape) != len(layout.shard) or any(chunk < 1 or shard % chunk for shard, chunk in sizes):
        return None
    return layout


def _names(codecs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of codecs; ValueError for numbers that lie the other way round than everywhere."""
    if any(one.get("configuration", {}).get("endian", "little") != "little" for one in codecs):
        raise ValueError("big-endian")
    return [str(one["name"]) for one in codecs]


def _fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the fill value, which JSON holds as a number, a name (`NaN`, `-Infinity`) or the bits as `0x7fc00000`."""
    if isinstance(value, str) and value.startswith("0x"):
        return np.array(int(value, 16), f"<u{dtype.itemsize}").view(dtype)[()]
    return np.array(float(value) if isinstance(value, str) else value, dtype)[()]
