"""Where the runs lie that are served: folders and buckets, what is searched of them, and what may be opened."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deeptracker.app.buckets import find_stored
from deeptracker.data_model.storage import ROOT, Place, Storage, open_storage, require_folder

DEPTH = 4
"""Levels of folders below a served folder that are searched for runs."""
MOST_FOLDERS = 20_000
"""Folders looked into in one search, so that a home folder given by mistake does not hang the page."""
AT_ONCE = 8
"""Requests to a bucket side by side."""

Where = Path | Storage
"""A folder of this machine, or where else a run lies."""


def find_runs(root: Path, depth: int = DEPTH) -> list[Path]:
    """Return the folders at or below `root` that look like runs, without following a link out of it or in circles."""
    top = root.resolve()
    found: list[Path] = []
    seen: set[Path] = set()
    waiting = [(top, 0)]
    while waiting and len(seen) < MOST_FOLDERS:
        folder, level = waiting.pop(0)
        if folder in seen:
            continue
        seen.add(folder)
        if os.path.lexists(folder / ROOT):
            found.append(folder)
        elif level < depth:
            waiting += [(inner, level + 1) for inner in _folders(folder) if inner.is_relative_to(top)]
    return sorted(found)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        return [Path(name).resolve() for name in sorted(names)]
    except (OSError, RuntimeError):  # unreadable, gone meanwhile, or a circle of links
        return []


def split_places(text: str) -> list[str]:
    """Return the folders and URLs of a list like that of PATH; the colons within URLs separate nothing."""
    return [place for place in re.split(rf"{re.escape(os.pathsep)}(?!//|\d+/)", text) if place]


def require_served(place: Place) -> None:
    """Raise where nothing can be served: a folder that does not exist, a store that refuses, a page that is no run."""
    storage = open_storage(place)
    # In a bucket a folder begins to exist with its first run, which may be yet to come.
    if storage.local is not None or storage.url.startswith("http"):
        require_folder(storage)
    else:
        storage.entries()


def runs_below(place: Place) -> list[Where]:
    """Return the runs at or below a place; none where it cannot be searched."""
    root = root_of(place)
    if isinstance(root, Path):
        return [*find_runs(root)] if root.is_dir() else []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [*find_stored(root, DEPTH, threads)]


def folder_size(place: Place) -> int:
    """Return the bytes of all files below a place; what cannot be read counts nothing."""
    return open_storage(place).total_size() or 0


def root_of(place: Place) -> Where:
    """Return a served place: a folder without links in its path, or a storage."""
    storage = open_storage(place)
    return storage if storage.local is None else storage.local.resolve()


def way_to(root: Where, place: Where) -> str | None:
    """Return the way from a served place to one below it, empty where it is the same; None where it is not below."""
    if isinstance(root, Path) or isinstance(place, Path):
        if not (isinstance(root, Path) and isinstance(place, Path) and place.is_relative_to(root)):
            return None
        return "" if place == root else place.relative_to(root).as_posix()
    if place.url == root.url:
        return ""
    return place.url.removeprefix(f"{root.url}/") if place.url.startswith(f"{root.url}/") else None


def resolve(root: Where, label: str, text: str) -> Where | None:
    """Return what a link names below a served place, if it names anything there."""
    whole = str(root)
    if text in (label, whole):
        inner = ""
    else:
        start = next((one for one in (label, whole) if text.startswith(f"{one}/")), None)
        if start is None:
            return None
        inner = text[len(start) :].lstrip("/")
    if isinstance(root, Path):
        path = (root / inner).resolve()
        return path if path.is_relative_to(root) and path.is_dir() else None
    found = root.within(inner) if inner else root
    return found if found.exists(ROOT) else None
