"""Which files the arrays of a commit must have, so that a lost one is not taken for values that were never recorded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Coordinates = tuple[int, ...]

Widths = dict[str, list[tuple[int, int]]]
"""Of each array that has grown wider: (entries, width), increasing. What lies in files that end at or before so many
entries along the record axis was written when the array had only that width along its entity axis."""

RECORD_DIMS = frozenset({"iteration", "validation", "snapshot", "bucket"})
"""The dimensions along which recording goes on."""


@dataclass(frozen=True)
class Grid:
    """How an array is cut into files: its shape, the shape of a file, and which axes are of records and of entities.

    The record axis is None for arrays that are of entities only.
    """

    shape: Coordinates
    file: Coordinates
    record_axis: int | None
    entity_axis: int

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> Grid:
        """Read the metadata of an array."""
        names: Sequence[str | None] = node.get("dimension_names") or [None] * len(node["shape"])
        record = next((axis for axis, name in enumerate(names) if name in RECORD_DIMS), None)
        others = [axis for axis in range(len(names)) if axis != record]
        # Records lie first or last; entities, which may get more, at the end of what is left.
        return cls(
            tuple(int(size) for size in node["shape"]),
            tuple(int(size) for size in node["chunk_grid"]["configuration"]["chunk_shape"]),
            record,
            others[-1] if others else 0,
        )

    @property
    def axes(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def counts(self) -> Coordinates:
        """Files along each axis."""
        return tuple(-(-size // file) for size, file in zip(self.shape, self.file, strict=True))

    def span(self, coordinates: Coordinates, axis: int) -> tuple[int, int]:
        """Return the entries [start, stop) of an axis that lie in a file."""
        start = coordinates[axis] * self.file[axis]
        return start, min(start + self.file[axis], self.shape[axis])


class Presence:
    """What must be there of the arrays of one commit."""

    def __init__(self, nodes: Mapping[str, Any], widths: Widths) -> None:
        """Take the metadata of every array by its path, and how wide those that grew have been."""
        self._nodes, self._widths = nodes, widths
        self._grids: dict[str, Grid] = {}

    def node(self, path: str) -> Mapping[str, Any]:
        """Return the metadata of an array."""
        found: Mapping[str, Any] = self._nodes[path]
        return found

    def grid(self, path: str) -> Grid:
        """Return how an array is cut into files."""
        if path not in self._grids:
            self._grids[path] = Grid.of(self._nodes[path])
        return self._grids[path]

    def width(self, path: str, coordinates: Coordinates) -> int:
        """Return how many entities the array had when a file was written, or `UNKNOWN`."""
        grid = self.grid(path)
        whole = grid.shape[grid.entity_axis]
        if grid.record_axis is None:
            return whole
        # By where a full file ends: only full ones are older than the array's last widening.
        end = (coordinates[grid.record_axis] + 1) * grid.file[grid.record_axis]
        return next((width for entries, width in self._widths.get(path, ()) if end <= entries), whole)

    def requires(self, path: str, coordinates: Coordinates) -> bool:
        """Return whether a file of an array must be there."""
        grid = self.grid(path)
        if any(not 0 <= one < count for one, count in zip(coordinates, grid.counts, strict=True)):
            return False
        if grid.record_axis == grid.entity_axis:
            return True
        width = self.width(path, coordinates)
        return coordinates[grid.entity_axis] * grid.file[grid.entity_axis] < (1 if width == UNKNOWN else width)

    def files(self, path: str) -> Iterator[Coordinates]:
        """Return the coordinates of every file of an array that must be there."""
        for coordinates in itertools.product(*(range(count) for count in self.grid(path).counts)):
            if self.requires(path, coordinates):
                yield coordinates


def file_name(path: str, coordinates: Coordinates) -> str:
    """Return the name of a file of an array.

    >>> file_name("layers/level_0/value", (0, 0, 3))
    'layers/level_0/value/c/0/0/3'
    """
    return "/".join((path, "c", *map(str, coordinates)))


def parse_file_name(name: str) -> tuple[str, Coordinates] | None:
    """Return the path of the array and the coordinates that a file is named after; None for other files.

    >>> parse_file_name("layers/level_0/value/c/0/0/3")
    ('layers/level_0/value', (0, 0, 3))
    """
    path, middle, numbers = name.rpartition("/c/")
    if not middle or not all(part.isdecimal() for part in numbers.split("/")):
        return None
    return path, tuple(int(part) for part in numbers.split("/"))


UNKNOWN = -1
"""Stands for the width of what was written before widths were kept; then the first of the files side by side must be
there, and the others may."""


def unknown_widths(nodes: Mapping[str, Any]) -> Widths:
    """Return the widths of arrays that do not say how wide they have been, as version 1 did not."""
    found = {}
    for path, node in nodes.items():
        grid = Grid.of(node) if node["node_type"] == "array" else None
        if grid and grid.record_axis not in (None, grid.entity_axis):
            file = grid.file[grid.record_axis]
            full = grid.shape[grid.record_axis] // file * file
            found[path] = [(full, UNKNOWN)] if full else []
    return found


def widened(widths: list[tuple[int, int]], entries: int, width: int) -> list[tuple[int, int]]:
    """Return the widths of an array that had `width` up to now, with `entries` in full files.

    >>> widened([], 0, 3)
    []
    >>> widened([(16, 3)], 16, 4)
    [(16, 3)]
    >>> widened([(16, 3)], 32, 4)
    [(16, 3), (32, 4)]
    """
    last = widths[-1][0] if widths else 0
    return [*widths, (entries, width)] if entries > last else widths


def cut(widths: list[tuple[int, int]], entries: int) -> list[tuple[int, int]]:
    """Return the widths of an array of which only full files up to `entries` are kept.

    >>> cut([(16, 3), (64, 4), (96, 5)], 32)
    [(16, 3), (32, 4)]
    """
    found: list[tuple[int, int]] = []
    for end, width in widths:
        found = widened(found, min(end, entries), width)
    return found
