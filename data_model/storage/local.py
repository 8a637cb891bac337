"""A run in a folder: files written so that a reader never sees a half-written one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from zarr.storage import LocalStore

from deeptracker.data_model.errors import RunAccessError
from deeptracker.data_model.storage.interface import Content, Stamp
from deeptracker.data_model.storage.names import check_name

PARTIAL = ".partial"
"""The end of the names of files that are not whole yet, or are about to go."""


class LocalStorage:
    """A folder of this machine, or one that it has mounted."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Take the folder; nothing is looked at or made yet."""
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"LocalStorage({str(self.path)!r})"

    @property
    def url(self) -> str:
        """The folder as a `file://` URL."""
        return self.path.absolute().as_uri()

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    @property
    def local(self) -> Path:
        """The folder, as it was given."""
        return self.path

    def _at(self, name: str) -> Path:
        return self.path / check_name(name)

    def read(self, name: str) -> bytes:
        """Return a whole file; FileNotFoundError where there is none."""
        path = self._at(name)
        with _refusals(path):
            return path.read_bytes()

    def read_stamped(self, name: str) -> tuple[bytes, Stamp]:
        """Return a whole file and the stamp that it had before it was read."""
        stamp = self.stamp(name)
        return self.read(name), stamp

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on, a negative `start` counting from the end."""
        return self._parts(name, [(start, length)])[0]

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts (start, length) of a file."""
        return self._parts(name, ranges)

    def _parts(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        path = self._at(name)
        with _refusals(path):
            file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            try:
                return [_part(file, start, length) for start, length in ranges]
            finally:
                os.close(file)

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        """Put a whole file in place by one rename; `durable` also waits until it is on the disk."""
        path = self._at(name)
        beside = path.with_name(path.name + PARTIAL)
        try:
            file = open(beside, "wb")  # noqa: SIM115 - opened again where its folder is missing
        except FileNotFoundError:
            if not self.path.is_dir():  # A run that has vanished is not begun anew.
                raise
            beside.parent.mkdir(parents=True, exist_ok=True)
            file = open(beside, "wb")  # noqa: SIM115
        with file:
            for part in (content,) if isinstance(content, bytes) else content:
                file.write(part)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)

    def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
        """Put a file in place only where the one there has the stamp `before`, or, for None, where there is none."""
        path = self._at(name)
        if before is not None and not _put_aside(path, before):
            return None
        return _create(path, content)

    def delete(self, name: str) -> None:
        """Delete a file; one that is missing is fine."""
        self._at(name).unlink(missing_ok=True)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all files that begin with `prefix`, sorted."""
        found: list[str] = []
        for folder, _, files in os.walk(self.path / prefix.rpartition("/")[0]):
            inner = Path(folder).relative_to(self.path).as_posix()
            found += files if inner == "." else [f"{inner}/{file}" for file in files]
        return sorted(name for name in found if name.startswith(prefix))

    def entries(self) -> list[str]:
        """Return the names at the top, sorted, those of folders with a `/` at their end."""
        with _refusals(self.path), os.scandir(self.path) as entries:
            return sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)

    def within(self, folder: str) -> LocalStorage:
        """Return the storage of a folder below."""
        return LocalStorage(self._at(folder))

    def total_size(self) -> int:
        """Return the bytes of all files; what cannot be read counts nothing."""
        total = 0
        for folder, _, files in os.walk(self.path):
            for name in files:
                with suppress(OSError):  # gone since it was listed
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return self._at(name).is_file()

    def stamp(self, name: str) -> Stamp | None:
        """Return the stamp of a file; None where there is none."""
        return _stamp(self._at(name))

    def size(self, name: str) -> int:
        """Return the bytes of a file; FileNotFoundError where there is none."""
        return self._at(name).stat().st_size

    def kind(self) -> Literal["folder", "file", "nothing"]:
        """Return what is there; RunAccessError for a folder that cannot be entered."""
        with _refusals(self.path):
            if self.path.is_dir():
                os.listdir(self.path)
                return "folder"
            return "file" if self.path.exists() else "nothing"

    def prepare(self) -> None:
        """Make the folder, and those above it."""
        self.path.mkdir(parents=True, exist_ok=True)

    def clear(self, keep: Collection[str] = ()) -> None:
        """Delete everything in the folder but the files named in `keep`."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name not in keep:
                entry.unlink(missing_ok=True)

    def array_store(self, read_only: bool) -> LocalStore:
        """Return zarr's store over the folder."""
        return LocalStore(self.path, read_only=read_only)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Tell a refusal of the operating system from damage."""
    try:
        yield
    except PermissionError as error:
        raise RunAccessError(
            f"No permission to read {path}. Ask its owner for read access, or copy the run to a place of your own."
        ) from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _part(file: int, start: int, length: int) -> bytes:
    if start < 0:
        start = max(0, os.fstat(file).st_size + start)
    content = os.pread(file, length, start)
    while len(content) < length:  # One call reads at most 2 GiB, and less from some mounted disks.
        more = os.pread(file, length - len(content), start + len(content))
        if not more:
            break
        content += more
    return content


def _create(path: Path, content: bytes) -> Stamp | None:
    """Put a file in place, whole, unless there is one."""
    whole = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        whole.write_bytes(content)
        try:
            os.link(whole, path)
        except FileExistsError:
            return None
        except OSError:  # A disk without links: others might see the file while it is still empty.
            with open(path, "xb") as file:
                file.write(content)
        return _stamp(path)
    except FileExistsError:
        return None
    finally:
        whole.unlink(missing_ok=True)


def _put_aside(path: Path, before: Stamp) -> bool:
    """Remove a file of that stamp; put it back where meanwhile another process has replaced it."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return True
    same = _stamp(aside) == before
    if not same:
        with suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()
    return same
