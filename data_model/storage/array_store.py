"""Any storage as a zarr store: whatever wraps the storage sees every access to the arrays too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

if TYPE_CHECKING:
    from deeptracker.data_model.storage.interface import Storage

_THREADS = 32
"""Requests under way at once: a remote place takes its time, whatever the number of cores here."""

Answer = TypeVar("Answer")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "deeptracker-storage")


class ArrayStore(Store):
    """A zarr store that reads and writes through a `Storage`."""

    def __init__(self, storage: Storage, *, read_only: bool = False) -> None:
        """Take the storage."""
        super().__init__(read_only=read_only)
        self._storage = storage

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayStore) and (self._storage, self.read_only) == (other._storage, other.read_only)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self._storage)

    def with_read_only(self, read_only: bool = False) -> ArrayStore:
        """Return a store over the same storage."""
        return ArrayStore(self._storage, read_only=read_only)

    async def _ask(self, question: Callable[..., Answer], *given: object) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(_threads(), question, *given)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a file or a part of it; None where there is none."""
        try:
            return prototype.buffer.from_bytes(await self._ask(self._read, key, byte_range))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def _read(self, key: str, part: ByteRequest | None) -> bytes:
        if isinstance(part, RangeByteRequest):
            return self._storage.read_range(key, part.start, part.end - part.start)
        if isinstance(part, SuffixByteRequest):
            return self._storage.read_range(key, -part.suffix, part.suffix)
        content = self._storage.read(key)
        return content[part.offset :] if isinstance(part, OffsetByteRequest) else content

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return several files or parts of them."""
        return await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))

    async def exists(self, key: str) -> bool:
        """Return whether there is such a file."""
        return await self._ask(self._storage.exists, key)

    async def set(self, key: str, value: Buffer) -> None:
        """Put a whole file in place."""
        self._check_writable()
        await self._ask(self._storage.write, key, value.to_bytes())

    async def delete(self, key: str) -> None:
        """Delete a file; one that is missing is fine."""
        self._check_writable()
        await self._ask(self._storage.delete, key)

    @property
    def supports_writes(self) -> bool:
        """Files can be written."""
        return True

    @property
    def supports_deletes(self) -> bool:
        """Files can be deleted."""
        return True

    @property
    def supports_listing(self) -> bool:
        """Files can be listed."""
        return True

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Go through the names of all files that begin with `prefix`."""
        for name in await self._ask(self._storage.names, prefix):
            yield name

    def list(self) -> AsyncIterator[str]:
        """Go through the names of all files."""
        return self.list_prefix("")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Go through the names of the files and folders right below a folder."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        names = await self._ask(self._storage.names, folder)
        for name in dict.fromkeys(name[len(folder) :].partition("/")[0] for name in names):
            yield name
