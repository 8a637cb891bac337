"""How the bytes of every array of a run become those on the disk."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec


def compressors(dtype: str | np.dtype[Any], *, bitwise: bool = False) -> tuple[BytesBytesCodec, ...]:
    """Return what turns the bytes of a chunk into those on the disk: compressed, and with a checksum behind them.

    For numbers the fastest to decode of those tried, at a ratio of about 1.3. With `bitwise` their bits are sorted, and
    not only their bytes: 3 to 6 % smaller and as quick to encode, up to a quarter slower to decode. The checksum costs
    less than a seventh of the time to write a shard through zarr, and about a twentieth of that to read it.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "T":
        return (ZstdCodec(), Crc32cCodec())
    shuffle: Literal["bitshuffle", "shuffle"] = "bitshuffle" if bitwise else "shuffle"
    return (BloscCodec(typesize=dtype.itemsize, cname="lz4", clevel=5, shuffle=shuffle), Crc32cCodec())
