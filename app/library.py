"""The runs below the served folders: finding them, what is said of each, and which of them may be opened."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptracker.data_model.errors import DeepTrackerError, NotARunError
from deeptracker.data_model.run import Run, open_run

RUN_FILE = "zarr.json"
"""What makes a folder look like a run; whether it is one, only opening it tells."""
DEPTH = 4
"""Levels of folders below a served folder that are searched for runs."""
MOST_FOLDERS = 20_000
"""Folders looked into in one search, so that a home folder given by mistake does not hang the page."""
FRESH_SECONDS = 3.0
"""How long one search answers every page that asks."""
SPARKLINE_POINTS = 120


@dataclass(frozen=True)
class Entry:
    """What the library says of one run; `problem` tells why a run cannot be opened, and then the rest is empty.

    `key` is its name in links, `sparkline` holds (low, high) of the training loss over equal spans, `size` is in
    bytes, `committed_at` in unix seconds.
    """

    key: str
    path: Path
    name: str
    model: str = ""
    state: str = ""
    iterations: int = 0
    committed_at: float = 0.0
    size: int = 0
    sparkline: tuple[tuple[float, float], ...] = ()
    problem: str = ""


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
        if os.path.lexists(folder / RUN_FILE):
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


def folder_size(path: Path) -> int:
    """Return the bytes of all files below a folder; what cannot be read counts nothing."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # gone since it was listed
                continue
    return total


def sparkline(run: Run, points: int = SPARKLINE_POINTS) -> tuple[tuple[float, float], ...]:
    """Return (low, high) of the training loss over about `points` equal spans of the whole run."""
    first, stop = run.iterations
    if "loss" not in run.scalar_names or stop <= first:
        return ()
    found = run.query("loss", buckets=points)
    usable = np.isfinite(found["min"].values)
    at = ((found["start"].values[usable] - first) * points // (stop - first)).astype(int)
    low, high = np.full(points, np.inf), np.full(points, -np.inf)
    np.minimum.at(low, at, found["min"].values[usable])
    np.maximum.at(high, at, found["max"].values[usable])
    return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True) if a <= b)


class Library:
    """The runs below some folders, for all sessions of the server."""

    def __init__(self, roots: Iterable[str | Path]) -> None:
        self.roots = list(dict.fromkeys(Path(root).resolve() for root in roots))
        self.labels = _labels(self.roots)
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[tuple[int, int], Entry]] = {}
        self._entries: list[Entry] = []
        self._searched_at = float("-inf")

    def entries(self) -> list[Entry]:
        """Return every run, most recently written first; one that cannot be opened says why."""
        with self._lock:
            if time.monotonic() - self._searched_at > FRESH_SECONDS:
                paths = dict.fromkeys(path for root in self.roots for path in find_runs(root))
                self._entries = sorted(map(self._entry, paths), key=lambda entry: -entry.committed_at)
                self._searched_at = time.monotonic()
            return self._entries

    def key(self, path: Path) -> str:
        """Return the name of a run in links: the served folder's name and the way from there."""
        for root, label in zip(self.roots, self.labels, strict=True):
            if path.is_relative_to(root):
                inner = path.relative_to(root).as_posix()
                return label if inner == "." else f"{label}/{inner}"
        raise NotARunError(f"{path} is in none of the served folders.")

    def find(self, text: str) -> Path:
        """Return the folder that a link names: a key, or a full path. Only what is inside a served folder.

        Raises NotARunError for anything else, without telling whether it exists.
        """
        for candidate, root in self._candidates(text):
            try:
                path = candidate.resolve()
                if path.is_relative_to(root) and path.is_dir():
                    return path
            except (OSError, ValueError, RuntimeError):  # over-long, NUL, a circle of links
                continue
        shown = text if len(text) <= 200 else text[:200] + "…"
        raise NotARunError(
            f"There is no run {shown!r} in the folders served here. Go back to the list of runs and pick one."
        )

    def _candidates(self, text: str) -> list[tuple[Path, Path]]:
        found = [(Path(text), root) for root in self.roots if os.path.isabs(text)]
        for root, label in zip(self.roots, self.labels, strict=True):
            if text == label or text.startswith(f"{label}/"):
                found.append((root / text[len(label) + 1 :].lstrip("/"), root))
        return found

    def _entry(self, path: Path) -> Entry:
        try:
            status = (path / RUN_FILE).stat()
            version = (status.st_mtime_ns, status.st_size)
        except OSError:
            version = (0, 0)
        known = self._known.get(path)
        # What is being recorded may be interrupted without writing anything more: that one is asked again.
        if known is None or known[0] != version or known[1].state == "recording" or known[1].problem:
            self._known[path] = (version, describe(path, self.key(path)))
        return self._known[path][1]


def describe(path: Path, key: str) -> Entry:
    """Return what the library says of the run at `path`, whatever is wrong with it."""
    try:
        run = open_run(path)
        return Entry(
            key,
            path,
            run.name or path.name,
            run.description.model,
            run.state,
            run.steps,
            run.committed_at,
            folder_size(path),
            sparkline(run),
        )
    except DeepTrackerError as error:
        return Entry(key, path, path.name, problem=str(error))
    except Exception as error:  # noqa: BLE001 - one bad run must not take the page down
        return Entry(key, path, path.name, problem=f"This run cannot be read ({type(error).__name__}: {error}).")


def _labels(roots: Sequence[Path]) -> list[str]:
    labels: list[str] = []
    for root in roots:
        base, number = root.name or "root", 2
        label = base
        while label in labels:
            label, number = f"{base}~{number}", number + 1
        labels.append(label)
    return labels
