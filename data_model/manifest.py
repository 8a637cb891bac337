"""What the root of a run says is committed, apart from the metadata of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.presence import Widths
from deeptracker.data_model.snapshot_layers import SnapshotLayers
from deeptracker.data_model.tail import TailPiece
from deeptracker.data_model.trust import check_tail_name
from deeptracker.data_model.vocabulary import (
    ACTIVATIONS,
    CLASS_STATISTICS,
    CLASSES,
    FILTERS,
    LAYERS,
    SCALARS,
    Description,
    Layer,
    Statistic,
)

FORMAT = "deeptracker"
FORMAT_VERSION = 2
"""2: checksums of chunks, of the tail and of the root, and the widths of arrays that grew."""


@dataclass
class LogEntry:
    """What is committed of one log (a family, the validations, the snapshots).

    `records` counts all committed records; the first `sharded` of them lie in shards, the rest in the pieces of the
    tail. `levels[k]` counts the buckets of level k + 1 that lie in shards.
    """

    axis: IterationAxis = field(default_factory=IterationAxis)
    sharded: int = 0
    records_per_shard: int = 1
    tail: list[TailPiece] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    entities: int = 0

    @property
    def records(self) -> int:
        """All committed records."""
        return self.axis.records

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain JSON values."""
        return {
            "records": self.records,
            "axis": self.axis.to_json(),
            "sharded": self.sharded,
            "records_per_shard": self.records_per_shard,
            "tail": [list(piece) for piece in self.tail],
            "levels": self.levels,
            "entities": self.entities,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LogEntry:
        """Rebuild the entry, refusing numbers that contradict each other."""
        tail = [_piece(*piece) for piece in value["tail"]]
        entry = cls(
            axis=IterationAxis(value["axis"], int(value["records"])),
            sharded=int(value["sharded"]),
            records_per_shard=int(value["records_per_shard"]),
            tail=tail,
            levels=[int(rows) for rows in value["levels"]],
            entities=int(value["entities"]),
        )
        counts = [
            entry.sharded,
            entry.records_per_shard - 1,
            entry.entities,
            *entry.levels,
            *(piece.rows for piece in tail),
        ]
        if min(counts) < 0 or entry.sharded + sum(piece.rows for piece in tail) != entry.records:
            raise ValueError(f"{entry.records} records cannot be {entry.sharded} in shards and a tail of {tail}")
        entry.axis.check()
        return entry


def _piece(name: Any, rows: Any, checksum: Any = None) -> TailPiece:
    return TailPiece(check_tail_name(str(name)), int(rows), None if checksum is None else int(checksum))


@dataclass
class Manifest:
    """Everything the root of a run says, apart from the metadata of its arrays."""

    description: Description = field(default_factory=Description)
    layers: list[Layer] = field(default_factory=list)
    layer_statistics: list[Statistic] = field(default_factory=list)
    filter_statistics: list[Statistic] = field(default_factory=list)
    activation_statistics: list[Statistic] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)
    logs: dict[str, LogEntry] = field(default_factory=dict)
    images: int = 0
    classes: int = 0
    snapshot_layers: SnapshotLayers = field(default_factory=SnapshotLayers)
    thumbnail_shape: tuple[int, ...] = ()
    notes: list[dict[str, Any]] = field(default_factory=list)
    state: str = "recording"
    created_at: float = 0.0
    committed_at: float = 0.0
    commits: int = 0
    generation: int = 0
    widths: Widths = field(default_factory=dict)
    version: int = FORMAT_VERSION

    @property
    def statistics(self) -> dict[str, list[Statistic]]:
        """The statistics of each family that has some."""
        return {
            LAYERS: self.layer_statistics,
            FILTERS: self.filter_statistics,
            ACTIVATIONS: self.activation_statistics,
            CLASSES: list(CLASS_STATISTICS),
        }

    @property
    def class_names(self) -> list[str]:
        """The classes, by number; named by their number where the recorder was given no names."""
        given = list(self.description.classes)
        return given + [str(number) for number in range(len(given), self.classes)]

    def entity_count(self, family: str) -> int:
        """Return the number of scalars, layers or filters that a family is recorded of; of classes, one more."""
        if family == SCALARS:
            return len(self.scalars)
        if family == CLASSES:
            return 1 + self.classes
        return sum(layer.filters for layer in self.layers) if family == FILTERS else len(self.layers)

    def to_json(self) -> dict[str, Any]:
        """Return the attributes of the root group."""
        plain = (
            "scalars",
            "images",
            "classes",
            "notes",
            "state",
            "created_at",
            "committed_at",
            "commits",
            "generation",
        )
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "description": self.description.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "layer_statistics": [statistic.to_json() for statistic in self.layer_statistics],
            "filter_statistics": [statistic.to_json() for statistic in self.filter_statistics],
            "activation_statistics": [statistic.to_json() for statistic in self.activation_statistics],
            "logs": {name: entry.to_json() for name, entry in self.logs.items()},
            "snapshot_layers": self.snapshot_layers.to_json(),
            "thumbnail_shape": list(self.thumbnail_shape),
            "widths": {path: [list(one) for one in widths] for path, widths in self.widths.items() if widths},
            **{name: getattr(self, name) for name in plain},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Manifest:
        """Rebuild the manifest from the attributes of the root group."""
        layers = [Layer.from_json(layer) for layer in value["layers"]]
        widths: dict[str, Any] = value["widths"] if value["format_version"] > 1 else {}
        # Snapshots of the first version held every layer.
        every = list(range(len(layers)))
        kept = value.get("snapshot_layers", {"order": every, "sets": [[0, every]]})
        return cls(
            description=Description.from_json(value["description"]),
            layers=layers,
            snapshot_layers=SnapshotLayers.from_json(kept, len(layers)),
            layer_statistics=[Statistic.from_json(statistic) for statistic in value["layer_statistics"]],
            filter_statistics=[Statistic.from_json(statistic) for statistic in value["filter_statistics"]],
            # Runs of before this family existed have none.
            activation_statistics=[Statistic.from_json(one) for one in value.get("activation_statistics", ())],
            scalars=[str(name) for name in value["scalars"]],
            logs={str(name): LogEntry.from_json(entry) for name, entry in value["logs"].items()},
            images=int(value["images"]),
            # Runs of before series of classes were stored do not say how many there are.
            classes=int(value.get("classes", 0)),
            thumbnail_shape=tuple(int(size) for size in value["thumbnail_shape"]),
            notes=[dict(note) for note in value["notes"]],
            state=str(value["state"]),
            created_at=float(value["created_at"]),
            committed_at=float(value["committed_at"]),
            commits=int(value["commits"]),
            generation=int(value["generation"]),
            widths={str(path): [(int(n), int(width)) for n, width in one] for path, one in widths.items()},
            version=int(value["format_version"]),
        )
