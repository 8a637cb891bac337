"""The tail: committed records that do not fill a shard yet, in small files that are written once and never change."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.checksums import Checksum, crc32c
from deeptracker.data_model.errors import MissingFileError, RunFormatError
from deeptracker.data_model.storage import Storage

FOLDER = "tail"


class TailPiece(NamedTuple):
    """A file of the tail: its name, its number of records, and its CRC-32C, which version 1 did not have."""

    name: str
    rows: int
    checksum: int | None


class Column(NamedTuple):
    """What a piece is to hold of one array: its shape, record axis first, its dtype, and the rows, some at a time."""

    shape: tuple[int, ...]
    dtype: str
    portions: Iterable[NDArray[Any]]


def write_piece(storage: Storage, name: str, columns: Mapping[str, Column]) -> TailPiece:
    """Write the records of one flush; return what the root is to say of them."""
    checksum = Checksum()
    storage.write(f"{FOLDER}/{name}", map(checksum.over, _packed(columns)))
    return TailPiece(name, next(iter(columns.values())).shape[0], checksum.value)


def _packed(columns: Mapping[str, Column]) -> Iterator[bytes]:
    """Yield the bytes of an `npz` file, as `numpy.savez` packs one, portion by portion."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for key, column in columns.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as entry:
                described = {"descr": np.dtype(column.dtype).str, "fortran_order": False, "shape": column.shape}
                np.lib.format.write_array_header_1_0(entry, described)
                for portion in column.portions:
                    entry.write(portion.tobytes())
                    yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Takes what is written, to be given on."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._parts.append(bytes(content))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def read_piece(storage: Storage, piece: TailPiece) -> dict[str, NDArray[Any]]:
    """Read one piece. Raises MissingFileError where a newer commit replaced it, RunFormatError where it is damaged."""
    path = f"{storage}/{FOLDER}/{piece.name}"
    try:
        content = storage.read(f"{FOLDER}/{piece.name}")
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} is missing: {piece.rows} records that were committed are lost, all others are readable. "
            "Was the run copied completely?"
        ) from error
    try:
        return decode_piece(content, piece)
    except ValueError as error:
        raise RunFormatError(
            f"{path} is damaged ({error}): its {piece.rows} records are lost, all others are readable. "
            "Resuming the run is refused while it is damaged."
        ) from error


def decode_piece(content: bytes, piece: TailPiece) -> dict[str, NDArray[Any]]:
    """Return the columns in a piece of the tail; ValueError where it is damaged."""
    if piece.checksum is not None and crc32c(content) != piece.checksum:
        raise ValueError("it does not match its checksum")
    try:
        columns = _columns(content, checked=piece.checksum is not None)
    except (OSError, zipfile.BadZipFile, KeyError, EOFError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    if not columns or any(len(column) != piece.rows for column in columns.values()):
        raise ValueError(f"it should hold {piece.rows} records, and holds {[*map(len, columns.values())]}")
    return columns


def _columns(content: bytes, checked: bool) -> dict[str, NDArray[Any]]:
    # The checksums that a zip file has by itself are looked at only where an array is read to its end: not where the
    # header of the array claims to be of a smaller one.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        bad = None if checked else archive.testzip()
    if bad is not None:
        raise ValueError(f"its part {bad} does not match its checksum")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {key: np.asarray(arrays[key]) for key in arrays.files}
