"""Every file that a commit names, and what lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptracker.data_model.manifest import LogEntry, Manifest
from deeptracker.data_model.node_metadata import METADATA
from deeptracker.data_model.presence import Coordinates, Presence, file_name
from deeptracker.data_model.reduction import FACTOR
from deeptracker.data_model.tail import FOLDER, TailPiece

OPTIONAL = frozenset({"images/thumbnail"})
"""Arrays of which files that nothing was put into need not be there."""

_OPTIONAL_ONCE = OPTIONAL | {"images/has_thumbnail"}


@dataclass(frozen=True)
class Stored:
    """A file of a run: the metadata of a node, a part of an array, or a piece of the tail."""

    name: str
    node: str = ""
    coordinates: Coordinates | None = None
    log: str = ""
    piece: TailPiece | None = None
    optional: bool = False

    @property
    def is_metadata(self) -> bool:
        """Whether this is the metadata of a group or an array."""
        return self.coordinates is None and self.piece is None


def inventory(manifest: Manifest, nodes: Mapping[str, Any]) -> Iterator[Stored]:
    """Return every file that a commit names, apart from its root: what others are rebuilt from comes before them."""
    presence = Presence(nodes, manifest.widths)
    optional = _OPTIONAL_ONCE if manifest.version == 1 else OPTIONAL
    for path in nodes:
        yield Stored(f"{path}/{METADATA}", path)
    for name, entry in manifest.logs.items():
        yield from (Stored(f"{FOLDER}/{piece.name}", log=name, piece=piece) for piece in entry.tail)
    for path in sorted(path for path, node in nodes.items() if node["node_type"] == "array"):
        for coordinates in presence.files(path):
            log = path.split("/")[0]
            yield Stored(file_name(path, coordinates), path, coordinates, log, optional=path in optional)


def level_of(path: str) -> int | None:
    """Return the level of the index that an array belongs to; None for arrays of no level.

    >>> level_of("layers/level_2/summary"), level_of("layers/statistic")
    (2, None)
    """
    parts = [part for part in path.split("/") if part.startswith("level_") and part[6:].isdecimal()]
    return int(parts[0][6:]) if parts else None


@dataclass(frozen=True)
class Concern:
    """What lies in a file, in words, and where that is."""

    words: str
    family: str = ""
    level: int | None = None
    iterations: tuple[int, int] | None = None


def concern(stored: Stored, manifest: Manifest, presence: Presence) -> Concern:
    """Return what is lost with a file, of a commit."""
    entry = manifest.logs.get(stored.log)
    if stored.piece is not None and entry is not None:
        before = [piece.rows for piece in entry.tail[: entry.tail.index(stored.piece)]]
        first = entry.sharded + sum(before)
        return _records(stored.log, None, entry, (first, first + stored.piece.rows))
    if stored.coordinates is None:
        return Concern(f"what {stored.node} is, for programs that read it by itself")
    grid = presence.grid(stored.node)
    if entry is None or grid.record_axis is None:
        if stored.node.startswith("images/"):
            first, stop = grid.span(stored.coordinates, 0)
            return Concern(f"{stored.node}: entries {first} to {stop - 1}", "images")
        return Concern(f"the names in {stored.node}, for programs that read the arrays by themselves")
    level = level_of(stored.node) or 0
    first, stop = grid.span(stored.coordinates, grid.record_axis)
    span = FACTOR**level
    found = _records(stored.log, level, entry, (first * span, min(stop * span, entry.records)))
    if stored.node.endswith("/iteration"):
        return Concern(f"{found.words}: their numbers only, for programs that read the arrays by themselves")
    if grid.counts[grid.entity_axis] > 1 and grid.entity_axis != grid.record_axis:
        low, high = grid.span(stored.coordinates, grid.entity_axis)
        return Concern(f"{found.words}, numbers {low} to {high - 1}", found.family, found.level, found.iterations)
    return found


def _records(log: str, level: int | None, entry: LogEntry, records: tuple[int, int]) -> Concern:
    first, stop = entry.axis.bounds(np.array(records, np.int64)).tolist()
    what = f"level {level} of the index of {log}" if level else log
    return Concern(f"{what}, iterations {first} to {max(first, stop - 1)}", log, level, (first, stop))
