"""The runs below the served folders and buckets: finding them, what is said of each, and which may be opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptracker.app.buckets import find_stored
from deeptracker.app.places import AT_ONCE, DEPTH, Where, find_runs, folder_size, resolve, root_of, way_to
from deeptracker.data_model.errors import DeepTrackerError, NotARunError
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.storage import ROOT, Place, open_storage

FRESH_SECONDS = 3.0
"""How long one search answers every page that asks."""
FRESH_SECONDS_STORED = 20.0
"""The same where a search asks a bucket, which takes its time and its price."""
SPARKLINE_POINTS = 120


@dataclass(frozen=True)
class Entry:
    """What the library says of one run; `problem` tells why a run cannot be opened, and then the rest is empty.

    `key` is its name in links, `sparkline` holds (low, high) of the training loss over equal spans, `size` is in
    bytes, `committed_at` in unix seconds.
    """

    key: str
    path: Where
    name: str
    model: str = ""
    state: str = ""
    iterations: int = 0
    committed_at: float = 0.0
    size: int = 0
    sparkline: tuple[tuple[float, float], ...] = ()
    problem: str = ""
    synthetic: bool = False


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
    """The runs below some folders and buckets, for all sessions of the server."""

    def __init__(self, roots: Iterable[Place]) -> None:
        self.roots: list[Where] = list({str(root): root for root in map(root_of, roots)}.values())
        self.labels = _labels(self.roots)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Entry]] = {}
        self._entries: list[Entry] = []
        self._searched_at = float("-inf")
        local = all(isinstance(root, Path) for root in self.roots)
        self._fresh = FRESH_SECONDS if local else FRESH_SECONDS_STORED

    def entries(self) -> list[Entry]:
        """Return every run, most recently written first; one that cannot be opened says why."""
        with self._lock:
            if time.monotonic() - self._searched_at > self._fresh:
                with ThreadPoolExecutor(AT_ONCE) as threads:
                    found = [entry for root in self.roots for entry in self._below(root, threads)]
                unique = {str(entry.path): entry for entry in found}.values()
                self._entries = sorted(unique, key=lambda entry: -entry.committed_at)
                self._searched_at = time.monotonic()
            return self._entries

    def _below(self, root: Where, threads: ThreadPoolExecutor) -> list[Entry]:
        if isinstance(root, Path):
            return [self._entry(path) for path in find_runs(root)]
        try:
            return list(threads.map(self._entry, find_stored(root, DEPTH, threads)))
        except DeepTrackerError as error:  # A store that does not answer takes no other down.
            return [Entry(self.key(root), root, root.name, problem=str(error))]

    def key(self, place: Where) -> str:
        """Return the name of a run in links: the served folder's name and the way from there."""
        for root, label in zip(self.roots, self.labels, strict=True):
            inner = way_to(root, place)
            if inner is not None:
                return f"{label}/{inner}" if inner else label
        raise NotARunError(f"{place} is in none of the served folders.")

    def find(self, text: str) -> Where:
        """Return the place that a link names: a key, a full path or a URL. Only what is inside a served folder.

        Raises NotARunError for anything else, without telling whether it exists.
        """
        for root, label in zip(self.roots, self.labels, strict=True):
            try:
                found = resolve(root, label, text)
            except (OSError, ValueError, RuntimeError):  # over-long, NUL, a circle of links
                continue
            if found is not None:
                return found
        shown = text if len(text) <= 200 else text[:200] + "…"
        raise NotARunError(
            f"There is no run {shown!r} in the folders served here. Go back to the list of runs and pick one."
        )

    def _entry(self, place: Where) -> Entry:
        version = open_storage(place).stamp(ROOT)
        known = self._known.get(str(place))
        # What is being recorded may be interrupted without writing anything more: that one is asked again.
        if known is None or known[0] != version or known[1].state == "recording" or known[1].problem:
            known = self._known[str(place)] = (version, describe(place, self.key(place)))
        return known[1]


def describe(path: Where, key: str) -> Entry:
    """Return what the library says of a run, whatever is wrong with it."""
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
            synthetic=run.description.synthetic,
        )
    except DeepTrackerError as error:
        return Entry(key, path, path.name, problem=str(error))
    except Exception as error:  # noqa: BLE001 - one bad run must not take the page down
        return Entry(key, path, path.name, problem=f"This run cannot be read ({type(error).__name__}: {error}).")


def _labels(roots: Sequence[Where]) -> list[str]:
    labels: list[str] = []
    for root in roots:
        base, number = root.name or "root", 2
        label = base
        while label in labels:
            label, number = f"{base}~{number}", number + 1
        labels.append(label)
    return labels
