"""From the bytes of a shard to where its chunks lie, and from a chunk's bytes to its values."""

from __future__ import annotations

import struct
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from deeptracker.data_model.shards.layout import ShardLayout

Index = NDArray[np.uint64]

_BLOSC_HEADER = struct.Struct("<BBBBIII")


def decode_index(content: bytes, layout: ShardLayout) -> Index:
    """Return offset and length of every chunk, (chunks of a shard in C order, 2); both 2**64 - 1 for none.

    Raises ValueError where the index is cut short or its checksum does not match.
    """
    if len(content) != layout.index_bytes:
        raise ValueError(f"its index has {len(content)} bytes instead of {layout.index_bytes}")
    body = _checked(content, "its index") if layout.index_checked else np.frombuffer(content, np.uint8)
    return body.view("<u8").reshape(-1, 2)


def decode_chunk(content: bytes, layout: ShardLayout) -> NDArray[Any]:
    """Return the values of a chunk; ValueError where the bytes are no such chunk, or were changed."""
    body = _checked(content, "a chunk") if layout.checked else np.frombuffer(content, np.uint8)
    values = np.empty(layout.chunk, layout.dtype)
    if layout.compressed:
        _check_header(body, values.nbytes)
        try:
            blosc.decompress(body, values)
        except RuntimeError as error:
            raise ValueError(f"a chunk cannot be decompressed ({error})") from error
        return values
    if len(body) != values.nbytes:
        raise ValueError(f"a chunk has {len(body)} bytes instead of {values.nbytes}")
    values.reshape(-1)[:] = body.view(layout.dtype)
    return values


def _checked(content: bytes, what: str) -> NDArray[np.uint8]:
    """Return what is before the checksum."""
    body, checksum = np.frombuffer(content, np.uint8)[:-4], content[-4:]
    if google_crc32c.value(body) != int.from_bytes(checksum, "little"):
        raise ValueError(f"the checksum of {what} does not match")
    return body


def _check_header(content: NDArray[np.uint8], expected: int) -> None:
    """Refuse what blosc would believe: a header that promises other sizes than there are."""
    if len(content) < _BLOSC_HEADER.size:
        raise ValueError(f"a chunk has only {len(content)} bytes")
    *_, decoded, _, encoded = _BLOSC_HEADER.unpack(content[: _BLOSC_HEADER.size].tobytes())
    if decoded != expected or encoded != len(content):
        raise ValueError(
            f"a chunk of {len(content)} bytes says it has {encoded}, and {decoded} decompressed instead of {expected}"
        )
