"""The folder a run is recorded into: still empty, taken, or refused by the operating system."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeptracker.data_model import lock
from deeptracker.data_model.errors import RunAccessError, RunExistsError
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.manifest import ROOT


def holds_nothing(path: Path) -> bool:
    """Return whether a run may be started at a path: nothing is there, or only what a killed start has left.

    A recorder that is killed before its first commit leaves its lock, and a root that says nothing yet.
    """
    if not path.exists():
        return True
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir() if not entry.name.endswith(".partial")}
    if ROOT not in names:
        return names <= {lock.LOCK}
    if lock.LOCK not in names or not names <= {ROOT, lock.LOCK, *ENTITY}:
        return False
    try:
        return not json.loads((path / ROOT).read_bytes())["attributes"]
    except (ValueError, KeyError, TypeError):
        return False


def require_empty(path: Path) -> None:
    """Raise RunExistsError where something is that must not be overwritten."""
    if holds_nothing(path):
        return
    if not path.is_dir():
        raise RunExistsError(f"{path} is a file. Record to a path that does not exist yet.")
    if (path / ROOT).exists():
        raise RunExistsError(f"{path} already holds a run. Record to another path, or pass resume=True to append.")
    other = min(entry.name for entry in path.iterdir() if entry.name != lock.LOCK)
    raise RunExistsError(f"{path} is not empty (it has {other!r}). Record to an empty or a new folder.")


def clear(path: Path) -> None:
    """Remove what the start of a run has left in a folder that held nothing; whoever calls it has the lock."""
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != lock.LOCK:
            entry.unlink(missing_ok=True)


@contextmanager
def access(path: Path) -> Iterator[None]:
    """Say what to do where the operating system refuses to write the run."""
    try:
        yield
    except OSError as error:
        raise RunAccessError(
            f"Nothing can be recorded at {path} ({error.strerror or error}). Record to a folder on a disk that is "
            "writable and has room."
        ) from error
