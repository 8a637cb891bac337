"""Where an export goes: written under another name beside it, and put in place whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeptracker.data_model.errors import ExportError
from deeptracker.data_model.storage import Storage

MARK = "deeptracker export"
"""What an exported folder says it is, in its `export.json` or in the attributes of its `zarr.json`."""

TABLES, TREE = "export.json", "zarr.json"


@contextmanager
def put_in_place(target: Path, overwrite: bool, storage: Storage) -> Iterator[Path]:
    """Give the path to write to; where the block ends well, what is there becomes `target`, else it is deleted.

    Also Ctrl-C deletes it. Raises ExportError where something is there that is not to be overwritten, or `target` lies
    within the run that is exported.
    """
    target = Path(os.path.abspath(target))
    _check(target, overwrite, storage)
    unfinished = target.with_name(f".{target.name}.unfinished-{uuid.uuid4().hex[:8]}")
    aside = unfinished.with_name(f"{unfinished.name}-before")
    try:
        yield unfinished
        _check(target, overwrite, storage)  # again: it took a while
        _exchange(unfinished, target, aside)
    finally:
        _delete(unfinished)
        _delete(aside)


def _exchange(unfinished: Path, target: Path, aside: Path) -> None:
    """Put what was written in place of what is there; a folder only gives way to another name."""
    if not target.is_dir() and not (unfinished.is_dir() and os.path.lexists(target)):
        os.replace(unfinished, target)
        return
    try:
        target.rename(aside)
        unfinished.rename(target)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(target):
            aside.rename(target)
        raise


def _check(target: Path, overwrite: bool, storage: Storage) -> None:
    if not target.parent.is_dir():
        raise ExportError(
            f"There is no folder {target.parent} to write {target.name} into. Make it, or correct the path."
        )
    if storage.local is not None:
        run, place = storage.local.resolve(), target.resolve()
        if place == run or run in place.parents or place in run.parents:
            raise ExportError(f"{target} lies within the run at {run}, or around it. Give a place beside it.")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise ExportError(f"{target} exists already. Give another name, or overwrite it (--overwrite).")
    if target.is_dir() and not is_export(target):
        raise ExportError(
            f"{target} is a folder that no export has made, and is not overwritten. Give another name, or remove it."
        )


def is_export(folder: Path) -> bool:
    """Return whether an export has made a folder."""
    try:
        if (folder / TABLES).is_file():
            return bool(json.loads((folder / TABLES).read_text(encoding="utf-8"))["kind"] == MARK)
        return bool(json.loads((folder / TREE).read_text(encoding="utf-8"))["attributes"]["kind"] == MARK)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
