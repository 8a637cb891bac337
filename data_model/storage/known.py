"""A storage that only one process writes to: it asks no server for what that process knows already."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from deeptracker.data_model.storage.interface import Content, Stamp, Storage, whole
from deeptracker.data_model.storage.names import check_name
from deeptracker.data_model.storage.wrapper import StorageWrapper

_METADATA = "zarr.json"
_KEPT_BYTES = 1 << 20
"""Metadata files longer than this are not kept."""


class KnownStorage(StorageWrapper):
    """Lists the names once and keeps them up to date, with the metadata files that it has written.

    zarr looks for parents and earlier versions of whatever it writes, which costs nothing on a disk and a round trip
    each in a bucket.
    """

    def __init__(self, inner: Storage) -> None:
        """Wrap a storage that nobody else writes to."""
        super().__init__(inner)
        self._listed: set[str] | None = None
        self._metadata: dict[str, bytes] = {}
        self._mutex = threading.Lock()

    @property
    def _names(self) -> set[str]:
        with self._mutex:
            if self._listed is None:
                self._listed = set(self.inner.names())
            return self._listed

    def _require(self, name: str) -> None:
        if not self.exists(name):
            raise FileNotFoundError(f"There is no {self}/{name}.")

    def _now_there(self, name: str, content: bytes) -> None:
        self._names.add(name)
        if name.endswith(_METADATA) and len(content) <= _KEPT_BYTES:
            self._metadata[name] = content

    def read(self, name: str) -> bytes:
        """See `Storage`."""
        self._require(name)
        return self._metadata[name] if name in self._metadata else self.inner.read(name)

    def read_stamped(self, name: str) -> tuple[bytes, Stamp]:
        """See `Storage`."""
        self._require(name)
        return self.inner.read_stamped(name)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """See `Storage`."""
        self._require(name)
        return self.inner.read_range(name, start, length)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `Storage`."""
        self._require(name)
        return self.inner.read_ranges(name, ranges)

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        """See `Storage`."""
        content = whole(content)
        self.inner.write(name, content, durable=durable)
        self._now_there(name, content)

    def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
        """See `Storage`."""
        stamp = self.inner.exchange(name, content, before)
        if stamp is not None:
            self._now_there(name, content)
        return stamp

    def delete(self, name: str) -> None:
        """See `Storage`."""
        if self.exists(name):
            self.inner.delete(name)
            self._names.discard(name)
            self._metadata.pop(name, None)

    def names(self, prefix: str = "") -> list[str]:
        """See `Storage`."""
        return sorted(name for name in self._names if name.startswith(prefix))

    def entries(self) -> list[str]:
        """See `Storage`."""
        return sorted({f"{first}{slash}" for first, slash, _ in (name.partition("/") for name in self._names)})

    def stamp(self, name: str) -> Stamp | None:
        """See `Storage`."""
        return self.inner.stamp(name) if self.exists(name) else None

    def exists(self, name: str) -> bool:
        """See `Storage`."""
        return check_name(name) in self._names

    def size(self, name: str) -> int:
        """See `Storage`."""
        self._require(name)
        return self.inner.size(name)

    def clear(self, keep: Collection[str] = ()) -> None:
        """See `Storage`."""
        for name in self.names():
            if name not in keep:
                self.delete(name)
