"""The zarr arrays of a run: write-once shards of small inner chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from deeptracker.data_model.compression import compressors
from deeptracker.data_model.tree import ArrayTree

SHARD_BYTES = 16 << 20
"""A shard, and so each buffer of the writer, is kept near this size uncompressed."""

MOST_RECORDS = 1024
FEWEST_RECORDS = 16


@dataclass(frozen=True)
class Field:
    """One array of a log: a value of shape `shape` per record, along dimensions `dims` besides the record's own.

    `chunks` and `shards` are sizes along `dims`. The record axis comes last where `record_last`, so that a series
    lies contiguously, and first otherwise. `bitwise` as for `compressors`: for what is written more than read.
    """

    name: str
    dtype: str
    fill: Any
    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    chunks: tuple[int, ...] = ()
    shards: tuple[int, ...] = ()
    record_last: bool = False
    meaning: str = ""
    bitwise: bool = False

    @property
    def record_bytes(self) -> int:
        """Bytes of one record, uncompressed."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def oriented(self, block: NDArray[Any]) -> NDArray[Any]:
        """Turn a block with the record axis first into the order of the array; a view, as zarr copies each chunk."""
        return np.moveaxis(block, 0, -1) if self.record_last else block

    def place(self, trailing: Sequence[Any], record: Any) -> tuple[Any, ...]:
        """Return an index or a shape in the order of the array."""
        return (*trailing, record) if self.record_last else (record, *trailing)


def records_per_shard(fields: Sequence[Field]) -> int:
    """Return the power of two of records whose fields together stay near `SHARD_BYTES`."""
    per_record = max(1, sum(field.record_bytes for field in fields))
    fitting = max(FEWEST_RECORDS, min(MOST_RECORDS, SHARD_BYTES // per_record))
    return 1 << (fitting.bit_length() - 1)


def create_array(tree: ArrayTree, group: str, field: Field, record_dim: str, records: int) -> zarr.Array[Any]:
    """Create the array of a field, still without records, in shards of `records` records."""
    return tree.create(
        f"{group}/{field.name}",
        shape=field.place(field.shape, 0),
        shards=field.place(field.shards, records),
        chunks=field.place(field.chunks, records),
        dtype=field.dtype,
        fill_value=field.fill,
        dimension_names=field.place(field.dims, record_dim),
        compressors=compressors(field.dtype, bitwise=field.bitwise),
        attributes={"long_name": field.meaning} if field.meaning else {},
    )
