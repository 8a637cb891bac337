"""Who records into a run: what the lock says of it, and whether it is still there."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from functools import cache

from deeptracker.data_model.errors import RunAccessError
from deeptracker.data_model.storage import Stamp, Storage

LOCK = "writer.lock"
SILENT_SECONDS = 120.0
"""Without a sign for so long, a writer that can only be known by its signs counts as gone."""


@dataclass(frozen=True)
class Holder:
    """The process that records into a run; `started` tells it from a later process of the same number.

    Where the run lies in a bucket there is more: `machine`, because hosts that share no file system may share a name,
    `token`, which no other writer has, and `seen`, when it last gave a sign, in seconds since 1970.
    """

    host: str
    pid: int
    started: str
    machine: str = ""
    token: str = ""
    seen: float | None = None

    @classmethod
    def this_process(cls, machine: str = "", token: str = "") -> Holder:
        """Return what this process says of itself."""
        return cls(socket.gethostname(), os.getpid(), started(os.getpid()), machine, token)

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine, which can be asked for."""
        return self.host == socket.gethostname() and self.machine in ("", this_machine())

    @property
    def ours(self) -> bool:
        """Whether it is this very process; not by the host's name, which a laptop changes with its network."""
        return (self.pid, self.started) == (os.getpid(), started(os.getpid()))

    def alive(self) -> bool | None:
        """Return whether the process still runs; None when it is on another host, where nobody here can know."""
        if self.here:
            return started(self.pid) == self.started
        return None if self.seen is None else time.time() - self.seen < SILENT_SECONDS


def started(pid: int) -> str:
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


@cache
def this_machine() -> str:
    """Return what tells this machine, and the container on it, from others of the same name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{uuid.getnode():x}"


def read_holder(storage: Storage) -> Holder | None:
    """Return who holds the run, dead or alive; None when nobody does or the lock cannot be read."""
    return read_lock(storage)[0]


def read_lock(storage: Storage) -> tuple[Holder | None, Stamp | None]:
    """Return who holds the run, and the stamp of the lock: it may be there and tell nothing."""
    stamp = None
    try:
        content, stamp = storage.read_stamped(LOCK)
        value = json.loads(content)
        seen = value.get("seen")
        holder = Holder(
            str(value["host"]),
            int(value["pid"]),
            str(value["started"]),
            str(value.get("machine", "")),
            str(value.get("token", "")),
            None if seen is None else float(seen),
        )
        return holder, stamp
    except (OSError, RunAccessError):
        return None, None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, stamp
