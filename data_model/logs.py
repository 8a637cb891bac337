"""All the logs of a run under one roof: families with their levels, validations, snapshots."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import MOST_RECORDS, Field, records_per_shard
from deeptracker.data_model.coordinates import (
    extend_classes,
    extend_layers,
    extend_scalars,
    write_coordinates,
    write_states,
)
from deeptracker.data_model.families import (
    ENTITY,
    OF_STEPS,
    SNAPSHOTS,
    VALIDATION,
    family_value,
    snapshot_field,
    validation_fields,
)
from deeptracker.data_model.family_reader import FamilyReader
from deeptracker.data_model.log_reader import LogReader
from deeptracker.data_model.manifest import LogEntry, Manifest
from deeptracker.data_model.pyramid import Pyramid
from deeptracker.data_model.record_log import RecordLog
from deeptracker.data_model.state_layout import STATES, image_levels, state_fields
from deeptracker.data_model.state_pyramid import StatePyramid
from deeptracker.data_model.state_reader import StateReader
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tail import FOLDER
from deeptracker.data_model.tree import ArrayTree
from deeptracker.data_model.vocabulary import CLASSES, SCALARS

MOST_CLASS_RECORDS = 256


class Logs:
    """The writer's side of every log; opens each when it is first needed."""

    def __init__(self, storage: Storage, tree: ArrayTree, manifest: Manifest) -> None:
        """Continue the logs that the manifest describes."""
        self._storage, self._tree, self._manifest = storage, tree, manifest
        self._logs: dict[str, RecordLog] = {}
        self._pyramids: dict[str, Pyramid] = {}
        self._states: StatePyramid | None = None
        self._forget_incomplete()
        for name in manifest.logs:
            self._open(name)

    def describe(self) -> None:
        """Write the coordinates that stock xarray reads: names of statistics and layers."""
        write_coordinates(self._tree, self._manifest)

    def _forget_incomplete(self) -> None:
        """Begin anew what is derived from the validations but does not go as far as they do."""
        logs = self._manifest.logs
        for name in (STATES, CLASSES):
            if name in logs and logs[name].records != logs.get(VALIDATION, LogEntry()).records:
                del logs[name]
                self._tree.forget(name)

    def __getitem__(self, name: str) -> RecordLog:
        """Return a log, starting it when nothing was appended to it before."""
        if name not in self._logs:
            self._open(name)
        return self._logs[name]

    def _open(self, name: str) -> None:
        started = self._manifest.logs.get(name)
        entry = started or LogEntry()
        fields = self._fields(name)
        if started is None:
            entry.records_per_shard = self._shard_records(name, fields)
            fields = self._fields(name, entry.records_per_shard)
            self._manifest.logs[name] = entry
        entry.entities = fields[0].shape[-1]
        if name == STATES:
            states = self._states = StatePyramid(self._tree, entry, entry.entities, len(fields))
            self._logs[name] = RecordLog(
                self._storage, self._tree, f"{STATES}/level_0", name, "validation", fields, entry, states.push_records
            )
        elif name in ENTITY:
            pyramid = self._pyramids[name] = Pyramid(self._tree, name, fields[0], entry, self._storage.local)
            self._logs[name] = RecordLog(
                self._storage,
                self._tree,
                f"{name}/level_0",
                name,
                "iteration",
                fields,
                entry,
                on_shard=lambda columns: pyramid.push_records(columns["value"]),
            )
        else:
            dim = "validation" if name == VALIDATION else "snapshot"
            self._logs[name] = RecordLog(self._storage, self._tree, name, name, dim, fields, entry)

    def _shard_records(self, name: str, fields: list[Field]) -> int:
        if name == SNAPSHOTS:
            return 1
        # Validations are few, and the levels of a thousand classes would fill memory for as long as recording goes on.
        return min(records_per_shard(fields), MOST_CLASS_RECORDS if name == CLASSES else MOST_RECORDS)

    def _fields(self, name: str, records: int = 1) -> list[Field]:
        manifest = self._manifest
        if name == STATES:
            levels = image_levels(manifest.images)
            if STATES in manifest.logs:
                records = manifest.logs[STATES].records_per_shard
                levels = sum(f"{STATES}/level_0/images_{level}" in self._tree for level in range(levels + 1))
            return state_fields(manifest.images, levels, records)
        if name in ENTITY:
            statistics = len(manifest.statistics[name]) if name in manifest.statistics else 1
            return [family_value(name, statistics, manifest.entity_count(name))]
        if name == VALIDATION:
            return list(validation_fields(manifest.images))
        return [snapshot_field(manifest.snapshot_layers.weights(manifest.layers))]

    def grow_scalars(self) -> None:
        """Follow the manifest to more scalars."""
        self._grow(SCALARS)
        extend_scalars(self._tree, self._manifest)

    def grow_layers(self) -> None:
        """Follow the manifest to more layers; snapshots keep those that they have."""
        for name in self._pyramids:
            if name != SCALARS:
                self._grow(name)
        extend_layers(self._tree, self._manifest)

    def grow_images(self) -> None:
        """Follow the manifest to more validation images, and to the classes that came with them."""
        self._grow(VALIDATION)
        self.grow_derived(STATES)
        self.grow_derived(CLASSES)

    def grow_derived(self, name: str) -> None:
        """Follow the manifest to more images or classes in what is derived from the validations."""
        self._grow(name)
        if name == STATES:
            write_states(self._tree)
        else:
            extend_classes(self._tree, self._manifest)

    def _grow(self, name: str) -> None:
        """Make a log as wide as the manifest is now: earlier records, and buckets, are missing for what is new."""
        log = self[name]
        fields = self._fields(name)
        if log.entry.entities == fields[0].shape[-1]:
            return
        for wide in fields:
            log.grow(wide.dims[-1], wide.shape[-1])
        log.entry.entities = fields[0].shape[-1]
        if name in self._pyramids:
            self._pyramids[name].grow(log.fields["value"])
        if name == STATES and self._states is not None:
            self._states.grow(log.entry.entities)

    def blank_validation(self) -> dict[str, NDArray[Any]]:
        """Return one record of validation results with every image marked as not validated."""
        fields = validation_fields(self._manifest.images)
        return {field.name: np.full((1, *field.shape), field.fill, field.dtype) for field in fields}

    def append_snapshot(self, iteration: int, flat: NDArray[np.float32]) -> None:
        """Append one snapshot, (weights,) in the order of the manifest's `snapshot_layers`."""
        self._grow(SNAPSHOTS)
        self[SNAPSHOTS].append(np.array([iteration], np.int64), 1, {"weights": flat[None]})

    def restore(self, before: int | None = None) -> bool:
        """Put what lies behind the last full shards back into memory, to go on from there.

        With `before`, steps from that iteration on, and validations and snapshots after it, are cut off. Return
        whether anything was.
        """
        cut = False
        for name, log in self._logs.items():
            entry = log.entry
            until = entry.records if before is None else entry.axis.count_before(before + (name not in OF_STEPS))
            cut |= until < entry.records
            start = min(until, entry.sharded) // entry.records_per_shard * entry.records_per_shard
            if name == STATES:
                self._restore_states(start)
            elif name in ENTITY:
                self._restore_levels(name, start)
            reader = LogReader(self._storage, log.readable, entry)
            columns = {key: reader.rows(key, start, until, field) for key, field in log.fields.items()}
            in_tail = start == entry.sharded and until == entry.records
            entry.axis.truncate(until)
            if name == SNAPSHOTS:
                self._manifest.snapshot_layers.truncate(until)
            log.restore(columns, in_tail=in_tail)
        return cut

    def _restore_levels(self, name: str, start: int) -> None:
        """Take over each level's full shards below record `start`, and what lies between those and `start`."""
        reader = FamilyReader(self._storage, self._tree, name, self._logs[name].entry)
        self._pyramids[name].restore(reader, start)

    def _restore_states(self, start: int) -> None:
        """As `_restore_levels`, of every image level."""
        log = self._logs[STATES]
        records = LogReader(self._storage, log.readable, log.entry)
        assert self._states is not None
        self._states.restore(
            StateReader(self._storage, self._tree.readable, log.entry, records, len(log.fields) - 1), start
        )

    def write_tails(self) -> None:
        """Write every log's unfinished records to its tail, for the commit to come."""
        for log in self._logs.values():
            log.write_tail(self._manifest.commits + 1)

    def forget_dropped(self) -> None:
        """After a commit, delete tail pieces that nobody reads any more."""
        for log in self._logs.values():
            log.forget_dropped()

    def forget_leftovers(self, before: Collection[str]) -> None:
        """Delete pieces of the tail that a killed writer left behind; those that the commit `before` named may stay."""
        named = {piece.name for log in self._logs.values() for piece in log.entry.tail}
        for name in self._storage.names(f"{FOLDER}/"):
            if name.removeprefix(f"{FOLDER}/") not in named | set(before):
                self._storage.delete(name)

    def let_go(self) -> None:
        """Give back what waiting records take: nothing is appended any more."""
        self._logs.clear()
        self._pyramids.clear()
        self._states = None

    def close(self) -> None:
        """Write the unfinished shards of every log and every level."""
        for name, log in self._logs.items():
            rest = log.close()
            if name in self._pyramids:
                self._pyramids[name].close(rest["value"])
            if name == STATES and self._states is not None:
                self._states.close(rest)
