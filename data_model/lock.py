"""One writer per run: a lock file that names its holder, and is taken over when the holder is dead."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from deeptracker.data_model.errors import RunAccessError, RunLockedError
from deeptracker.data_model.storage import Stamp, Storage

LOCK = "writer.lock"
_TRIES = 4


@dataclass(frozen=True)
class Holder:
    """The process that records into a run; `started` tells it from a later process of the same number."""

    host: str
    pid: int
    started: str

    def alive(self) -> bool | None:
        """Return whether the process still runs; None when it is on another host, where nobody here can know."""
        if self.host != socket.gethostname():
            return None
        return _started(self.pid) == self.started


def _started(pid: int) -> str:
    """Return when a process started, in the system's own units; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf8", errors="replace") as file:
            state, *rest = file.read().rpartition(")")[2].split()
            return "" if state == "Z" else rest[18]
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return ""
    try:  # No /proc on this system: only the number can be asked for.
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "running"
    return "running"


def read_holder(storage: Storage) -> Holder | None:
    """Return who holds the run, dead or alive; None when nobody does or the lock cannot be read."""
    return _read(storage)[0]


def _read(storage: Storage) -> tuple[Holder | None, Stamp | None]:
    stamp = None
    try:
        content, stamp = storage.read_stamped(LOCK)
        value = json.loads(content)
        return Holder(str(value["host"]), int(value["pid"]), str(value["started"])), stamp
    except (OSError, ValueError, KeyError, TypeError, RunAccessError):
        return None, stamp or storage.stamp(LOCK)


def acquire(storage: Storage) -> None:
    """Take the lock, or raise RunLockedError naming the holder."""
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.time(),
    }
    stale: Stamp | None = None
    for _ in range(_TRIES):
        if storage.exchange(LOCK, json.dumps(mine).encode(), stale) is not None:
            return
        holder, stale = _read(storage)
        alive = holder.alive() if holder else False
        if holder is not None and alive is not False:
            unseen = "" if alive else ", which cannot be asked from here whether it still runs"
            raise RunLockedError(
                f"{storage} is being recorded by process {holder.pid} on {holder.host}{unseen}. Record to another path "
                f"or wait for it; if that process is gone for certain, delete {storage}/{LOCK}."
            )
    raise RunLockedError(f"{storage} was taken by another process in this very moment. Record to another path.")


def _ours(holder: Holder) -> bool:
    """Return whether this process holds the run; not by the host's name, which a laptop changes with its network."""
    return (holder.pid, holder.started) == (os.getpid(), _started(os.getpid()))


def check(storage: Storage) -> None:
    """Raise RunLockedError unless this process holds the run: its folder may have vanished, or been taken over."""
    holder = read_holder(storage)
    if holder is None:
        raise RunLockedError(
            f"{storage} or the lock in it has vanished while it was recorded: it was moved or deleted, or its disk is "
            "gone."
        )
    if not _ours(holder):
        raise RunLockedError(
            f"{storage} was taken over by process {holder.pid} on {holder.host} while it was recorded."
        )


def release(storage: Storage) -> None:
    """Give the lock back, where it is this process's own.

    A disk that refuses keeps it: it is as stale as that of a killed process then, once this one has ended.
    """
    holder = read_holder(storage)
    if holder is not None and _ours(holder):
        with suppress(OSError):
            storage.delete(LOCK)
