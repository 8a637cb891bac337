"""Storage of which one operation fails, or all from one on: each operation of a recording is made to fail in turn."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deeptracker.data_model.check.checking import check_run
from deeptracker.data_model.errors import DeepTrackerError, NotARunError
from deeptracker.data_model.holder import LOCK
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import LocalStorage, Storage, StorageWrapper
from tests.crash.content import append, check, open_writer

OPERATIONS = frozenset(
    (
        *("read", "read_stamped", "read_range", "read_ranges", "write", "exchange", "delete", "names", "entries"),
        *("exists", "stamp", "size", "kind", "prepare", "clear"),
    )
)
PORTION, PORTIONS = 12, 3


class FaultyStorage(StorageWrapper):
    """Counts the operations on a folder; number `fails` gives an input/output error, and with `dead` all after it."""

    def __init__(self, path: Path, fails: int | None = None, *, dead: bool = False) -> None:
        super().__init__(LocalStorage(path))
        self.fails, self.dead, self.done = fails, dead, 0

    def __getattribute__(self, name: str) -> Any:
        if name in OPERATIONS:
            self._count(name)
        return super().__getattribute__(name)

    def _count(self, name: str) -> None:
        number, self.done = self.done, self.done + 1
        if self.fails is not None and (number == self.fails or (self.dead and number > self.fails)):
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} in operation {number}, {name}")


def record(storage: FaultyStorage) -> tuple[int, bool]:
    """Record some portions and close; return how many iterations were acknowledged, and whether something failed."""
    writer, committed = None, 0
    try:
        writer = open_writer(storage, None)
        for start in range(0, PORTION * PORTIONS, PORTION):
            append(writer, start, start + PORTION)
            writer.commit()
            committed = start + PORTION
        writer.close()
    except (OSError, DeepTrackerError):
        storage.fails = None
        if writer is not None:
            writer.abandon()
        else:
            _outlive(storage.inner)
        return committed, True
    _outlive(storage.inner)
    return committed, False


def _outlive(storage: Storage) -> None:
    """Make a lock that could not be given back that of a process which has ended meanwhile."""
    if storage.exists(LOCK):
        storage.write(LOCK, storage.read(LOCK).replace(b'"started": "', b'"started": "0'))


def count_operations(path: Path) -> int:
    """Return how many operations the recording takes when nothing fails."""
    storage = FaultyStorage(path)
    assert record(storage) == (PORTION * PORTIONS, False)
    shutil.rmtree(path)
    return storage.done


def fail_in_turn(folder: Path, numbers: Iterable[int], *, dead: bool) -> int:
    """Make each of these operations fail, each in a recording of its own; return how many of them were noticed.

    Nothing acknowledged may be lost, and the run goes on as if nothing had been. Raises AssertionError.
    """
    noticed = 0
    for number in numbers:
        path = folder / f"run{number}"
        committed, failed = record(FaultyStorage(path, number, dead=dead))
        noticed += failed
        try:
            there = check(open_run(path))
        except NotARunError:
            there = 0
        # What failed after a commit may have failed before the writer heard of it.
        assert committed <= there <= committed + PORTION, f"operation {number}: {committed} committed, {there} there"
        writer = open_writer(path, None)
        start = 0 if writer.last_iteration is None else writer.last_iteration + 1
        append(writer, start, start + PORTION)
        writer.close()
        assert check(open_run(path)) == start + PORTION, f"operation {number}"
        assert check_run(path).damage == [], f"operation {number}"
        shutil.rmtree(path)
    return noticed
