"""The index in pieces: which files of the levels follow from which records, and in which order they are built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeptracker.data_model.check.inventory import level_of
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.presence import Coordinates, Presence
from deeptracker.data_model.reduction import FACTOR

RAW_LEVELS = 2
"""Levels that a segment builds at once from its records: the rest is a 64th of them."""

File = tuple[str, Coordinates]
"""The path of an array, and which of its files."""


@dataclass(frozen=True)
class Segment:
    """A piece of the work: files of the levels of one family, lower levels first.

    What they follow from is the records below them, or levels that an earlier stage has built. `records` [first, stop)
    are those that the files stand for.
    """

    family: str
    files: tuple[File, ...]
    records: tuple[int, int]


def stages(
    manifest: Manifest, nodes: Mapping[str, Any], families: Sequence[str] | None = None
) -> Iterator[list[Segment]]:
    """Return the segments of a run's index in stages; those of a stage can be built side by side.

    First come segments of 64 shards (65,536 records in most runs), from the records up to level 2; then each level
    above, from the one below. QueryError for a family that has no index.
    """
    known = [family for family in ENTITY if family in manifest.logs]
    unknown = [family for family in families or () if family not in ENTITY]
    if unknown:
        raise QueryError(f"{unknown[0]!r} has no index of records; these families have: {', '.join(ENTITY)}.")
    wanted = [family for family in known if families is None or family in families]
    files = {family: _files(family, nodes, Presence(nodes, manifest.widths)) for family in wanted}
    top = max((level for found in files.values() for level, _, _ in found), default=0)
    for above in range(RAW_LEVELS, max(top, RAW_LEVELS) + 1):
        levels = range(1, RAW_LEVELS + 1) if above == RAW_LEVELS else range(above, above + 1)
        stage = [
            segment
            for family, found in files.items()
            for segment in _grouped(family, [one for one in found if one[0] in levels], levels[-1], manifest)
        ]
        if stage:
            yield stage


def _files(family: str, nodes: Mapping[str, Any], presence: Presence) -> list[tuple[int, int, File]]:
    """Return level, first bucket and place of every file of a family's levels."""
    found = []
    for path in nodes:
        level = level_of(path)
        if level and path == f"{family}/level_{level}/summary":
            grid = presence.grid(path)
            assert grid.record_axis is not None
            axis = grid.record_axis
            found += [(level, grid.span(place, axis)[0], (path, place)) for place in presence.files(path)]
    return sorted(found)


def _grouped(
    family: str, found: Sequence[tuple[int, int, File]], highest: int, manifest: Manifest
) -> Iterator[Segment]:
    """Gather the files that stand for the records of the same file of the highest level."""
    entry = manifest.logs[family]
    span = entry.records_per_shard * FACTOR**highest
    groups: dict[int, list[File]] = {}
    for level, bucket, file in found:
        groups.setdefault(bucket * FACTOR**level // span, []).append(file)
    for number, files in groups.items():
        yield Segment(family, tuple(files), (number * span, min((number + 1) * span, entry.records)))
