"""The folder a run is recorded into: still empty, taken, or refused by the operating system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from deeptracker.data_model.errors import RunAccessError, RunExistsError
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.holder import LOCK
from deeptracker.data_model.root import ROOT
from deeptracker.data_model.storage import Storage


def holds_nothing(storage: Storage) -> bool:
    """Return whether a run may be started at a place: nothing is there, or only what a killed start has left.

    A recorder that is killed before its first commit leaves its lock, and a root that says nothing yet.
    """
    kind = storage.kind()
    if kind != "folder":
        return kind == "nothing"
    names = {name.rstrip("/") for name in storage.entries() if not name.endswith(".partial")}
    if ROOT not in names:
        return names <= {LOCK}
    if LOCK not in names or not names <= {ROOT, LOCK, *ENTITY}:
        return False
    try:
        return not json.loads(storage.read(ROOT))["attributes"]
    except (ValueError, KeyError, TypeError):
        return False


def require_empty(storage: Storage) -> None:
    """Raise RunExistsError where something is that must not be overwritten."""
    if holds_nothing(storage):
        return
    if storage.kind() != "folder":
        raise RunExistsError(f"{storage} is a file. Record to a path that does not exist yet.")
    names = storage.entries()
    if ROOT in names:
        raise RunExistsError(f"{storage} already holds a run. Record to another path, or pass resume=True to append.")
    other = min(name.rstrip("/") for name in names if name != LOCK)
    raise RunExistsError(f"{storage} is not empty (it has {other!r}). Record to an empty or a new folder.")


@contextmanager
def access(storage: Storage) -> Iterator[None]:
    """Say what to do where the operating system refuses to write the run."""
    try:
        yield
    except OSError as error:
        raise RunAccessError(
            f"Nothing can be recorded at {storage} ({error.strerror or error}). Record to a folder on a disk that is "
            "writable and has room."
        ) from error
