"""Whether the bytes of a file can be what was written, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore, StorePath

from deeptracker.data_model.checksums import crc32c
from deeptracker.data_model.presence import Coordinates, Grid, file_name
from deeptracker.data_model.shards import Region, ShardEncoder, ShardLayout
from deeptracker.data_model.shards.decode import decode_chunk, decode_index

_ERRORS = (ValueError, RuntimeError, TypeError, OSError, KeyError, IndexError)
_CHECKSUM_BYTES = 4
_NO_CHUNK = 2**64 - 1


def is_checked(node: Mapping[str, Any]) -> bool:
    """Return whether every byte of an array's files is under a checksum."""
    layout = ShardLayout.of(node)
    return (layout.checked and layout.index_checked) if layout else node["codecs"][-1]["name"] == "crc32c"


def problem(content: bytes, node: Mapping[str, Any], coordinates: Coordinates) -> str:
    """Return what is wrong with a file of an array; empty where nothing is."""
    if not content:
        return "it is empty"
    try:
        layout = ShardLayout.of(node)
        if layout is not None:
            _check_shard(content, layout)
        elif node["codecs"][-1]["name"] == "crc32c":
            if crc32c(content[:-_CHECKSUM_BYTES]) != int.from_bytes(content[-_CHECKSUM_BYTES:], "little"):
                return "its checksum does not match"
        else:
            decoded(content, node, coordinates)
    except _ERRORS as error:
        return str(error) or type(error).__name__
    return ""


def _check_shard(content: bytes, layout: ShardLayout) -> None:
    size = layout.index_bytes
    index = decode_index(content[:size] if layout.index_first else content[-size:], layout)
    for number, (offset, length) in enumerate(index.tolist()):
        if offset == _NO_CHUNK:
            continue
        chunk = content[offset : offset + length]
        if len(chunk) != length:
            raise ValueError(f"chunk {number} should have {length} bytes, and only {len(chunk)} are there")
        if not layout.checked:
            decode_chunk(chunk, layout)
        elif crc32c(chunk[:-_CHECKSUM_BYTES]) != int.from_bytes(chunk[-_CHECKSUM_BYTES:], "little"):
            raise ValueError(f"the checksum of chunk {number} does not match")


def decoded(content: bytes, node: Mapping[str, Any], coordinates: Coordinates) -> NDArray[Any]:
    """Return the values in a file of an array, as far as they lie within it; raises what zarr raises."""
    files = {file_name("a", coordinates): default_buffer_prototype().buffer.from_bytes(content)}
    grid = Grid.of(node)
    return np.asarray(_alone(node, files)[tuple(slice(*grid.span(coordinates, axis)) for axis in range(grid.axes))])


def encoded(values: NDArray[Any], node: Mapping[str, Any], coordinates: Coordinates) -> bytes:
    """Return the file of an array with these values from its corner on, as recording writes it."""
    grid = Grid.of(node)
    starts = [grid.span(coordinates, axis)[0] for axis in range(grid.axes)]
    stops = [start + size for start, size in zip(starts, values.shape, strict=True)]
    encoder = ShardEncoder.of({**node, "shape": stops})
    if encoder is None:
        files: dict[str, Buffer] = {}
        _alone(node, files)[tuple(map(slice, starts, stops))] = values
        return files[file_name("a", coordinates)].to_bytes()

    def read(region: Region) -> NDArray[Any]:
        return values[
            tuple(slice(one.start - start, one.stop - start) for one, start in zip(region, starts, strict=True))
        ]

    along = grid.record_axis
    ends_the_run = along is not None and values.shape[along] < grid.file[along]
    return b"".join(encoder.content(coordinates, read, thorough=ends_the_run))


def _alone(node: Mapping[str, Any], files: dict[str, Buffer]) -> zarr.Array[Any]:
    """Return an array like the run's, of the files given and no others."""
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.Array.from_dict(StorePath(MemoryStore(files), "a"), dict(node))
