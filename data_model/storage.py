"""Files of a run, written so that a reader never sees a half-written one."""

from __future__ import annotations

import os
from pathlib import Path

from deeptracker.data_model.errors import NotARunError, RunAccessError


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put `content` at `path` by one rename; `durable` also waits until it is on the disk."""
    beside = path.with_name(path.name + ".partial")
    with open(beside, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(beside, path)


def read_file(path: Path) -> bytes:
    """Read a file of a run, telling a refusal of the operating system from damage."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise RunAccessError(
            f"No permission to read {path}. Ask its owner for read access, or copy the run to a place of your own."
        ) from error


def require_folder(path: Path) -> None:
    """Raise unless `path` is a folder that can be entered."""
    try:
        if path.is_dir():
            os.listdir(path)
            return
    except PermissionError as error:
        raise RunAccessError(
            f"No permission to read {path}. Ask its owner for read access, or copy the run to a place of your own."
        ) from error
    kind = "a file" if path.exists() else "nothing"
    raise NotARunError(f"A run is a folder written by DeepTracker's Recorder, but {path} is {kind}.")
