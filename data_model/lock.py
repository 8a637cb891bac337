"""One writer per run: a lock file that names its holder, and is taken over when the holder is dead."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deeptracker.data_model.errors import RunLockedError

LOCK = "writer.lock"
_TRIES = 3


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
    return _read(run / LOCK)


def _read(lock: Path) -> Holder | None:
    try:
        value = json.loads(lock.read_text())
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
    for _ in range(_TRIES):
        if _create(run, json.dumps(mine).encode()):
            return
        holder = read_holder(run)
        alive = holder.alive() if holder else False
        if holder is not None and alive is not False:
            unseen = "" if alive else ", which cannot be asked from here whether it still runs"
            raise RunLockedError(
                f"{run} is being recorded by process {holder.pid} on {holder.host}{unseen}. Record to another path or "
                f"wait for it; if that process is gone for certain, delete {run / LOCK}."
            )
        _put_aside(run, holder)
    raise RunLockedError(f"{run} was taken by another process in this very moment. Record to another path.")


def _create(run: Path, content: bytes) -> bool:
    """Put the lock in place, whole, unless there is one."""
    whole = run / f"{LOCK}.{secrets.token_hex(4)}.partial"
    try:
        whole.write_bytes(content)
        try:
            os.link(whole, run / LOCK)
        except FileExistsError:
            return False
        except OSError:  # A disk without links: others might see the lock while it is still empty.
            with open(run / LOCK, "xb") as file:
                file.write(content)
    except FileExistsError:
        return False
    finally:
        whole.unlink(missing_ok=True)
    return True


def _put_aside(run: Path, stale: Holder | None) -> None:
    """Remove the lock of a dead holder; put it back where meanwhile another process has taken the run over."""
    aside = run / f"{LOCK}.{secrets.token_hex(4)}.partial"
    try:
        os.rename(run / LOCK, aside)
    except FileNotFoundError:
        return
    if _read(aside) != stale:
        with suppress(FileExistsError):
            os.link(aside, run / LOCK)
    aside.unlink()


def _ours(holder: Holder) -> bool:
    """Return whether this process holds the run; not by the host's name, which a laptop changes with its network."""
    return (holder.pid, holder.started) == (os.getpid(), _started(os.getpid()))


def check(run: Path) -> None:
    """Raise RunLockedError unless this process holds the run: its folder may have vanished, or been taken over."""
    holder = read_holder(run)
    if holder is None:
        raise RunLockedError(
            f"{run} or the lock in it has vanished while it was recorded: it was moved or deleted, or its disk is gone."
        )
    if not _ours(holder):
        raise RunLockedError(f"{run} was taken over by process {holder.pid} on {holder.host} while it was recorded.")


def release(run: Path) -> None:
    """Give the lock back, where it is this process's own.

    A disk that refuses keeps it: it is as stale as that of a killed process then, once this one has ended.
    """
    holder = read_holder(run)
    if holder is not None and _ours(holder):
        with suppress(OSError):
            (run / LOCK).unlink(missing_ok=True)
