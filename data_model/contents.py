"""What a run holds, family by family: how many records of what, where they lie, and how many bytes they take."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deeptracker.data_model.families import SNAPSHOTS, VALIDATION
from deeptracker.data_model.manifest import LogEntry, Manifest
from deeptracker.data_model.state_layout import STATES
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tail import FOLDER
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS, SCALARS

_RAW = "level_0"

OF = {
    SCALARS: "scalars",
    LAYERS: "layers",
    ACTIVATIONS: "layers",
    FILTERS: "filters",
    VALIDATION: "images",
    CLASSES: "classes",
    STATES: "images",
    SNAPSHOTS: "weights",
}
"""The families, in the order in which they are told, and what the entities of each are."""


@dataclass(frozen=True)
class Contents:
    """What a run holds of one family.

    `levels` counts the stored buckets of each level of the index, from level 1 on; `tail_records` are those of the
    records that fill no shard yet. `iterations` is [first, stop). `bytes`, and `index_bytes` (those of the levels, part
    of `bytes`), are None where the place does not tell; the tail is not counted.
    """

    records: int
    tail_records: int
    iterations: tuple[int, int]
    entities: int
    of: str
    statistics: tuple[str, ...]
    levels: tuple[int, ...]
    bytes: int | None
    index_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the contents as plain JSON values."""
        return asdict(self)


def contents(manifest: Manifest, storage: Storage) -> dict[str, Contents]:
    """Return what there is of each family that anything was recorded of; the files are listed for it."""
    return {
        family: _of_family(family, manifest.logs[family], manifest, storage)
        for family in OF
        if family in manifest.logs and manifest.logs[family].records
    }


def bytes_beside(storage: Storage) -> dict[str, int | None]:
    """Return the bytes of what belongs to no family: the images' table with their pictures, and the tail."""
    return {"images": storage.within("images").total_size(), FOLDER: storage.within(FOLDER).total_size()}


def _of_family(family: str, entry: LogEntry, manifest: Manifest, storage: Storage) -> Contents:
    folder = storage.within(family)
    whole = folder.total_size()
    raw = folder.within(_RAW).total_size() if whole is not None and entry.levels else whole
    names = manifest.scalars if family == SCALARS else [one.name for one in manifest.statistics.get(family, ())]
    axis = entry.axis
    return Contents(
        records=entry.records,
        tail_records=entry.records - entry.sharded,
        iterations=(int(axis.iterations(0, 1)[0]), axis.stop),
        entities=entry.entities - (family == CLASSES),  # of which one is all images together
        of=OF[family],
        statistics=tuple(names),
        levels=tuple(entry.levels),
        bytes=whole,
        index_bytes=None if whole is None or raw is None else whole - raw,
    )
