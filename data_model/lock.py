"""One writer per run: a lock that names its holder, and is taken over when the holder is gone."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Protocol

from deeptracker.data_model.errors import RunAccessError, RunLockedError
from deeptracker.data_model.holder import LOCK, Holder, read_holder, read_lock
from deeptracker.data_model.storage import ROOT, Stamp, Storage

_TRIES = 4


class Lock(Protocol):
    """What a writer holds while it records."""

    @property
    def storage(self) -> Storage:
        """The place to write to: what the lock guards."""

    def check(self) -> None:
        """Raise RunLockedError unless this process still holds the run."""

    def publish(self, root: bytes, before: Stamp | None = None) -> None:
        """Commit: check, and put the root in place.

        `before` is the stamp of the root that the writer has read, known at its first commit.
        """

    def release(self) -> None:
        """Give the run back, where it is still this process's own.

        A place that refuses keeps the lock: it is as stale as that of a killed process then, once this one has ended.
        """


def acquire(storage: Storage) -> Lock:
    """Take the lock of a run, or raise RunLockedError naming the holder."""
    if storage.local is None:
        from deeptracker.data_model.lease import Lease

        return Lease.acquire(storage)
    return FileLock.acquire(storage)


class FileLock:
    """A lock in a folder: its holder is asked for by host, process number and start."""

    def __init__(self, storage: Storage) -> None:
        """Use `acquire` instead."""
        self.storage = storage

    @classmethod
    def acquire(cls, storage: Storage) -> FileLock:
        """Take the lock, or raise RunLockedError naming the holder."""
        stale: Stamp | None = None
        for _ in range(_TRIES):
            if storage.exchange(LOCK, _content(Holder.this_process()), stale) is not None:
                return cls(storage)
            holder, stale = read_lock(storage)
            alive = holder.alive() if holder else False
            if holder is not None and alive is not False:
                raise RunLockedError(_taken(storage, holder, alive))
        raise RunLockedError(f"{storage} was taken by another process in this very moment. Record to another path.")

    def check(self) -> None:
        """Raise RunLockedError unless this process holds the run: its folder may have vanished, or been taken over."""
        holder = read_holder(self.storage)
        if holder is None:
            raise RunLockedError(
                f"{self.storage} or the lock in it has vanished while it was recorded: it was moved or deleted, or its "
                "disk is gone."
            )
        if not holder.ours:
            raise RunLockedError(
                f"{self.storage} was taken over by process {holder.pid} on {holder.host} while it was recorded."
            )

    def publish(self, root: bytes, before: Stamp | None = None) -> None:
        """Commit by one rename."""
        self.check()
        self.storage.write(ROOT, root, durable=True)

    def release(self) -> None:
        """Give the lock back, where it is this process's own."""
        holder = read_holder(self.storage)
        if holder is not None and holder.ours:
            with suppress(OSError, RunAccessError):
                self.storage.delete(LOCK)


def _content(holder: Holder) -> bytes:
    said = asdict(holder)
    return json.dumps(
        {"host": said["host"], "pid": said["pid"], "started": said["started"], "since": time.time()}
    ).encode()


def _taken(storage: Storage, holder: Holder, alive: bool | None) -> str:
    unseen = "" if alive else ", which cannot be asked from here whether it still runs"
    return (
        f"{storage} is being recorded by process {holder.pid} on {holder.host}{unseen}. Record to another path or "
        f"wait for it; if that process is gone for certain, delete {storage}/{LOCK}."
    )
