"""What everything else may ask of the place where a run lies."""

from __future__ import annotations

import io
from collections.abc import Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from zarr.abc.store import Store

from deeptracker.data_model.errors import NotARunError

Stamp = Hashable
"""What changes whenever the content of a file is replaced."""

Content = bytes | Iterable[bytes]
"""A file's bytes, or its parts one after the other: a large file need not be in memory as a whole."""


def whole(content: Content) -> bytes:
    """Return the bytes of a file that may be given in parts."""
    if isinstance(content, bytes):
        return content
    together = io.BytesIO()  # which, unlike `join`, does not hold all parts beside the result
    for part in content:
        together.write(part)
    return together.getvalue()


class Storage(Protocol):
    """The files of one run, by name: `zarr.json`, `tail/layers-00000012.npz`, `layers/level_0/value/c/0/0/3`.

    Names are relative, with `/` between their parts. `str(storage)` is how messages name the place. Every method may
    raise OSError when the place cannot be reached, and RunAccessError when it refuses.
    """

    @property
    def url(self) -> str:
        """What opens the same place again, from any working folder."""

    @property
    def name(self) -> str:
        """The last part of the path or URL."""

    @property
    def local(self) -> Path | None:
        """The folder, as it was given, when the run lies on a file system of this machine."""

    def read(self, name: str) -> bytes:
        """Return a whole file; FileNotFoundError where there is none."""

    def read_stamped(self, name: str) -> tuple[bytes, Stamp]:
        """Return a whole file and its stamp, which is not newer than the content; FileNotFoundError."""

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on, a negative `start` counting from the end; FileNotFoundError.

        Fewer are returned where the file ends before.
        """

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts (start, length) of a file, none from the end, in as few round trips as possible."""

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        """Put a whole file in place at once: readers see the old one or the new one.

        Parts are asked for one by one, once only. With `durable` it is on the disk when this returns.
        """

    def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
        """Put a file in place only where the one there has the stamp `before`, or, for None, where there is none.

        Return the new stamp, or None where somebody else was faster: then nothing has changed.
        """

    def delete(self, name: str) -> None:
        """Delete a file; one that is missing is fine."""

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all files that begin with `prefix`, sorted."""

    def entries(self) -> list[str]:
        """Return the names at the top, sorted, those of folders with a `/` at their end."""

    def within(self, folder: str) -> Storage:
        """Return the storage of a folder below, over the same connection."""

    def total_size(self) -> int | None:
        """Return the bytes of all files; None where the place does not tell."""

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""

    def stamp(self, name: str) -> Stamp | None:
        """Return the stamp of a file; None where there is none."""

    def size(self, name: str) -> int:
        """Return the bytes of a file; FileNotFoundError where there is none."""

    def kind(self) -> Literal["folder", "file", "nothing"]:
        """Return what is there."""

    def prepare(self) -> None:
        """Make the place ready for the first file of a new run."""

    def clear(self, keep: Collection[str] = ()) -> None:
        """Delete everything but the files at the top that are named in `keep`."""

    def array_store(self, read_only: bool) -> Store:
        """Return the place as zarr's own store, for its arrays."""


def require_folder(storage: Storage) -> None:
    """Raise NotARunError where a run cannot be, because there is nothing or only a file."""
    kind = storage.kind()
    if kind != "folder":
        found = "a file" if kind == "file" else "nothing"
        raise NotARunError(f"A run is a folder written by DeepTracker's Recorder, but {storage} is {found}.")
