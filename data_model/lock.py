"""One writer per run: a lock file that names its holder, and is taken over when the holder is dead."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from deeptracker.data_model.errors import RunLockedError

LOCK = "writer.lock"


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


def read_holder(run: Path) -> Holder | None:
    """Return who holds the run, dead or alive; None when nobody does or the lock cannot be read."""
    try:
        value = json.loads((run / LOCK).read_text())
        return Holder(str(value["host"]), int(value["pid"]), str(value["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def acquire(run: Path) -> None:
    """Take the lock, or raise RunLockedError naming the holder."""
    mine = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": time.time(),
    }
    for _ in range(2):
        try:
            descriptor = os.open(run / LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            holder = read_holder(run)
            if holder is not None and holder.alive() is not False:
                raise RunLockedError(
                    f"{run} is being recorded by process {holder.pid} on {holder.host}. Record to another path or wait "
                    f"for it; if that process is gone for certain, delete {run / LOCK}."
                ) from None
            (run / LOCK).unlink(missing_ok=True)
        else:
            with os.fdopen(descriptor, "w") as file:
                json.dump(mine, file)
            return
    raise RunLockedError(f"{run} was taken by another process in this very moment. Record to another path.")


def release(run: Path) -> None:
    """Give the lock back, where it is this process's own."""
    holder = read_holder(run)
    if holder is not None and holder.pid == os.getpid() and holder.host == socket.gethostname():
        (run / LOCK).unlink(missing_ok=True)
