"""A storage around another one, to build on: it hands everything on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from zarr.abc.store import Store

from deeptracker.data_model.storage.array_store import ArrayStore
from deeptracker.data_model.storage.interface import Content, Stamp, Storage


class StorageWrapper:
    """Hands every call on to `inner`; a subclass replaces those that it is about (faults, counts, caches)."""

    def __init__(self, inner: Storage) -> None:
        """Wrap a storage."""
        self.inner = inner

    def __str__(self) -> str:
        return str(self.inner)

    @property
    def url(self) -> str:
        """See `Storage`."""
        return self.inner.url

    @property
    def name(self) -> str:
        """See `Storage`."""
        return self.inner.name

    @property
    def local(self) -> Path | None:
        """See `Storage`."""
        return self.inner.local

    def read(self, name: str) -> bytes:
        """See `Storage`."""
        return self.inner.read(name)

    def read_stamped(self, name: str) -> tuple[bytes, Stamp]:
        """See `Storage`."""
        return self.inner.read_stamped(name)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See `Storage`."""
        return self.inner.read_range(name, start, length)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `Storage`."""
        return self.inner.read_ranges(name, ranges)

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        """See `Storage`."""
        self.inner.write(name, content, durable=durable)

    def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
        """See `Storage`."""
        return self.inner.exchange(name, content, before)

    def delete(self, name: str) -> None:
        """See `Storage`."""
        self.inner.delete(name)

    def names(self, prefix: str = "") -> list[str]:
        """See `Storage`."""
        return self.inner.names(prefix)

    def entries(self) -> list[str]:
        """See `Storage`."""
        return self.inner.entries()

    def within(self, folder: str) -> Storage:
        """Return a folder below, without what the wrapper does."""
        return self.inner.within(folder)

    def total_size(self) -> int | None:
        """See `Storage`."""
        return self.inner.total_size()

    def exists(self, name: str) -> bool:
        """See `Storage`."""
        return self.inner.exists(name)

    def stamp(self, name: str) -> Stamp | None:
        """See `Storage`."""
        return self.inner.stamp(name)

    def size(self, name: str) -> int:
        """See `Storage`."""
        return self.inner.size(name)

    def kind(self) -> Literal["folder", "file", "nothing"]:
        """See `Storage`."""
        return self.inner.kind()

    def prepare(self) -> None:
        """See `Storage`."""
        self.inner.prepare()

    def clear(self, keep: Collection[str] = ()) -> None:
        """See `Storage`."""
        self.inner.clear(keep)

    def array_store(self, read_only: bool) -> Store:
        """Return a zarr store that comes back here with every access."""
        return ArrayStore(self, read_only=read_only)
