"""A run in a bucket, on a web server or in memory: every file is one object, put in place at once."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import obstore
from obstore import exceptions
from zarr.abc.store import Store

from deeptracker.data_model.errors import RunAccessError
from deeptracker.data_model.storage.address import Address
from deeptracker.data_model.storage.array_store import ArrayStore
from deeptracker.data_model.storage.clients import Client, connect
from deeptracker.data_model.storage.interface import Content, Stamp, whole
from deeptracker.data_model.storage.names import ROOT, check_name
from deeptracker.data_model.storage.ranges import cut, join_near
from deeptracker.data_model.storage.refusals import refusals

_AT_ONCE = 16
"""Parts of a file that are fetched side by side."""


class ObjectStorage:
    """The objects whose names begin with a prefix."""

    local = None

    def __init__(self, address: Address, client: Client | None = None) -> None:
        """Take the address; nothing is asked yet."""
        self.address = address
        self._client = client or connect(address)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"ObjectStorage({self.url!r})"

    @property
    def url(self) -> str:
        """The URL of the run."""
        return self.address.url

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.address.name

    def within(self, folder: str) -> ObjectStorage:
        """Return the storage of a folder below, over the same connection."""
        return ObjectStorage(self.address.within(check_name(folder)), self._client)

    def _key(self, name: str) -> str:
        return self.address.prefix + check_name(name)

    def read(self, name: str) -> bytes:
        """Return a whole file; FileNotFoundError where there is none."""
        return self.read_stamped(name)[0]

    def read_stamped(self, name: str) -> tuple[bytes, Stamp]:
        """Return a whole file and its stamp, by one request."""
        key = self._key(name)
        with refusals(self.address, name):
            found = obstore.get(self._client, key)
            return found.bytes().to_bytes(), _stamp(found.meta)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on, a negative `start` counting from the end."""
        key = self._key(name)
        if start >= 0:
            return self._span(name, key, start, length)
        with refusals(self.address, name):
            try:
                return obstore.get(self._client, key, options={"range": {"suffix": -start}}).bytes().to_bytes()[:length]
            except exceptions.NotSupportedError:  # Some stores know no ranges from the end, some web servers none.
                size = self.size(name)
        return self._span(name, key, max(0, size + start), length)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts (start, length) of a file; near ones are fetched together, others side by side."""
        key = self._key(name)
        spans = join_near([part for part in ranges if part[1] > 0])
        if len(spans) > 1:
            contents = list(_threads().map(lambda span: self._span(name, key, *span), spans))
        else:
            contents = [self._span(name, key, *span) for span in spans]
        return cut(spans, contents, ranges)

    def _span(self, name: str, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        with refusals(self.address, name):
            try:
                return obstore.get_range(self._client, key, start=start, length=length).to_bytes()
            except exceptions.NotSupportedError:
                return obstore.get(self._client, key).bytes().to_bytes()[start : start + length]
            except exceptions.GenericError as error:
                if "416" in str(error) or "StartTooLarge" in str(error):  # It begins behind the end.
                    return b""
                raise

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        """Put a whole file in place by one request; it is durable as soon as that is answered."""
        self._require_writable()
        key = self._key(name)
        with refusals(self.address, name):
            obstore.put(self._client, key, whole(content), use_multipart=False)

    def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
        """Put a file in place only where the one there has the stamp `before`, or, for None, where there is none.

        Atomic where the store knows conditional requests; elsewhere it looks first and then puts.
        """
        self._require_writable()
        key = self._key(name)
        with refusals(self.address, name):
            try:
                return _stamp(obstore.put(self._client, key, content, use_multipart=False, mode=_mode(before)))
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return self._own(name, content)
            except (exceptions.NotSupportedError, NotImplementedError):
                if self.stamp(name) != before:
                    return None
                _warn_unguarded(self.url)
                return _stamp(obstore.put(self._client, key, content, use_multipart=False))

    def _own(self, name: str, content: bytes) -> Stamp | None:
        """Return the stamp of a file that holds just `content`: it was put in place, and the answer was lost."""
        try:
            there, stamp = self.read_stamped(name)
        except FileNotFoundError:
            return None
        return stamp if there == content else None

    def delete(self, name: str) -> None:
        """Delete a file; one that is missing is fine."""
        self._require_writable()
        key = self._key(name)
        with refusals(self.address, name), suppress(FileNotFoundError):
            obstore.delete(self._client, key)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all files that begin with `prefix`, sorted."""
        return sorted(name for name, _ in self._listed(prefix.rpartition("/")[0]) if name.startswith(prefix))

    def _listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Go through the names and sizes of all files below a folder."""
        self._require_listing()
        prefix = self.address.prefix
        with refusals(self.address):
            for batch in obstore.list(self._client, f"{prefix}{folder}".rstrip("/") or None):
                for one in batch:
                    yield one["path"][len(prefix) :], one["size"]

    def entries(self) -> list[str]:
        """Return the names at the top, sorted, those of folders with a `/` at their end."""
        self._require_listing()
        prefix = self.address.prefix
        with refusals(self.address):
            found = obstore.list_with_delimiter(self._client, prefix.rstrip("/") or None)
        files = [one["path"] for one in found["objects"]]
        return sorted(name[len(prefix) :] for name in (*files, *(f"{one}/" for one in found["common_prefixes"])))

    def total_size(self) -> int | None:
        """Return the bytes of all files; None on a web server, which does not tell what it has."""
        return None if self.address.web else sum(size for _, size in self._listed(""))

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return self.stamp(name) is not None

    def stamp(self, name: str) -> Stamp | None:
        """Return the stamp of a file; None where there is none."""
        try:
            return _stamp(self._head(name))
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int:
        """Return the bytes of a file; FileNotFoundError where there is none."""
        return int(self._head(name)["size"])

    def _head(self, name: str) -> Mapping[str, Any]:
        key = self._key(name)
        with refusals(self.address, name):
            return obstore.head(self._client, key)

    def kind(self) -> Literal["folder", "file", "nothing"]:
        """Return whether any file's name begins with the prefix; on a web server, whether there is a run."""
        if self.address.web:
            return "folder" if self.stamp(ROOT) is not None else "nothing"
        if self.entries():
            return "folder"
        if not self.address.way:
            return "nothing"
        try:
            with refusals(self.address):
                obstore.head(self._client, self.address.way)
        except FileNotFoundError:
            return "nothing"
        return "file"

    def prepare(self) -> None:
        """Raise RunAccessError where nothing can be written; there is nothing to make."""
        self._require_writable()

    def clear(self, keep: Collection[str] = ()) -> None:
        """Delete everything but the files at the top that are named in `keep`."""
        for name in self.names():
            if name not in keep:
                self.delete(name)

    def array_store(self, read_only: bool) -> Store:
        """Return zarr's store over the objects."""
        return ArrayStore(self, read_only=read_only)

    def _require_writable(self) -> None:
        if self.address.web:
            raise RunAccessError(f"{self.url} is on a web server and can only be read. Record to a folder or a bucket.")

    def _require_listing(self) -> None:
        if self.address.web:
            raise RunAccessError(
                f"{self.url} is on a web server, which does not list what it has. Give the URL of a run."
            )


def _stamp(meta: Mapping[str, Any]) -> Stamp:
    """Return what tells versions of an object apart: (ETag, or else time and size; version)."""
    return (meta.get("e_tag") or f"{meta.get('last_modified')} {meta.get('size')}", meta.get("version"))


def _mode(before: Stamp | None) -> Any:
    """Return the condition of a put."""
    if before is None:
        return "create"
    assert isinstance(before, tuple)
    return {key: value for key, value in zip(("e_tag", "version"), before, strict=True) if value is not None}


def _warn_unguarded(url: str) -> None:
    warnings.warn(
        f"The store of {url} knows no conditional requests: a second writer of this run will not be noticed. "
        "Make sure that there is only one.",
        RuntimeWarning,
        stacklevel=3,
    )


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, "deeptracker-ranges")
