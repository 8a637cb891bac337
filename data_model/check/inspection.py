"""Looks at every file of a run, and says which are not what they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.check.findings import Finding, Kind
from deeptracker.data_model.check.inventory import Stored, concern, inventory
from deeptracker.data_model.check.rebuild import Rebuilder
from deeptracker.data_model.check.verify import decoded, is_checked, problem
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.node_metadata import node_text, same_node
from deeptracker.data_model.presence import Presence
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tail import decode_piece

Progress = Callable[[int, int], None]
"""Is told how many files have been looked at, and how many there are."""

Wrong = tuple[Kind, str]
"""What is wrong with a file: the kind, and the details."""

_WORKERS = 4


class Inspector:
    """Looks at the files of one commit."""

    def __init__(self, storage: Storage, commit: Commit) -> None:
        """Take the commit, whose root may have been read from elsewhere than from where it belongs."""
        self._storage, self._commit = storage, commit
        self._nodes, self._manifest = commit.nodes, commit.manifest
        self._presence = Presence(self._nodes, self._manifest.widths)
        self.rebuilder = Rebuilder(commit)
        self.files: list[Stored] = list(inventory(self._manifest, self._nodes))
        self.bytes = 0

    def findings(self, progress: Progress | None = None) -> Iterator[Finding]:
        """Return what is wrong, file by file."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            for number, (stored, wrong) in enumerate(zip(self.files, pool.map(self.look, self.files), strict=True), 1):
                if progress is not None:
                    progress(number, len(self.files))
                if wrong is not None:
                    yield self.finding(stored, *wrong)

    def finding(self, stored: Stored, kind: Kind, detail: str) -> Finding:
        """Say what is wrong with a file, and what that concerns."""
        found = concern(stored, self._manifest, self._presence)
        # Which of two that contradict each other is right, nobody knows.
        source = "" if kind == "contradicting" else self.rebuilder.source(stored)
        repair = f"rebuilt from {source}" if source else ""
        return Finding(stored.name, kind, found.words, detail, found.family, found.level, found.iterations, repair)

    def look(self, stored: Stored) -> Wrong | None:
        """Return what is wrong with a file; None where nothing is."""
        try:
            content = self._storage.read(stored.name)
        except FileNotFoundError:
            needed = not stored.optional or self._pictured(stored)
            return ("missing", "") if needed else None
        self.bytes += len(content)
        return self._judge(stored, content)

    def _judge(self, stored: Stored, content: bytes) -> Wrong | None:
        if stored.piece is not None:
            try:
                decode_piece(content, stored.piece)
            except ValueError as error:
                return "damaged", str(error)
            return None
        node = self._nodes[stored.node]
        if stored.coordinates is None:
            return self._judge_metadata(content, node)
        wrong = problem(content, node, stored.coordinates)
        if wrong:
            return "damaged", wrong
        return None if is_checked(node) else self._compare(stored, content, node)

    def _judge_metadata(self, content: bytes, node: Mapping[str, Any]) -> Wrong | None:
        """Of a run that is not closed, the metadata of an array may be ahead of the root."""
        if content == node_text(node) or same_node(content, node, ahead=self._manifest.state != "closed"):
            return None
        return "damaged", "it does not say what the run's root says"

    def _compare(self, stored: Stored, content: bytes, node: Mapping[str, Any]) -> Wrong | None:
        """Compare what has no checksum with what it follows from."""
        assert stored.coordinates is not None
        try:
            values = self.rebuilder.values(stored)
        except RunFormatError:
            return None  # what it follows from is damaged, and named itself
        if values is None:
            return None
        there = decoded(content, node, stored.coordinates)[tuple(slice(size) for size in values.shape)]
        if _same(there, values):
            return None
        return "contradicting", f"it is not what follows from {self.rebuilder.source(stored)}"

    def _pictured(self, stored: Stored) -> bool:
        """Return whether any picture was put into a file of thumbnails."""
        if stored.coordinates is None or stored.node != "images/thumbnail":
            return False
        first, stop = self._presence.grid(stored.node).span(stored.coordinates, 0)
        try:
            return bool(np.any(self._commit.read("images/has_thumbnail", slice(first, stop))))
        except RunFormatError:
            return False


def _same(there: NDArray[Any], values: NDArray[Any]) -> bool:
    """Return whether values are the same; counts of entities that came later may be missing instead of 0."""
    if there.dtype.kind != "f":
        return bool(np.array_equal(there, values))
    return bool(np.array_equal(np.nan_to_num(there), np.nan_to_num(values)))
