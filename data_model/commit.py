"""A run as of one commit: everything is read by one root, and so what is read belongs together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from deeptracker.data_model.check.naming import damaged_file
from deeptracker.data_model.committed_arrays import CommittedArrays
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.families import ENTITY, SNAPSHOTS, VALIDATION, snapshot_field, validation_fields
from deeptracker.data_model.family_reader import FamilyReader
from deeptracker.data_model.log_reader import LogReader
from deeptracker.data_model.presence import Presence
from deeptracker.data_model.root import Root, read_root
from deeptracker.data_model.shards import CHUNKS, ChunkCache
from deeptracker.data_model.state_layout import STATES
from deeptracker.data_model.state_reader import StateReader
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.vocabulary import CLASSES


class Commit:
    """The readers of one commit. Tail pieces are taken over from the readers of the commit before."""

    def __init__(
        self,
        storage: Storage,
        before: Commit | None = None,
        root: Root | None = None,
        cache: ChunkCache = CHUNKS,
    ) -> None:
        """Read the root of a run, unless it is given; raises what `read_root` raises."""
        self.storage = storage
        self.manifest, nodes, self.stamp = root or read_root(storage)
        self.nodes = nodes
        history = (self.manifest.created_at, self.manifest.generation)
        self._arrays = CommittedArrays(storage, nodes, self.manifest.widths, history, cache)
        self.families: dict[str, FamilyReader] = {}
        self.datasets: dict[str, xr.Dataset] = {}
        """What was made of the families, see `run_data`: their coordinates are as long as the run."""
        self.validation = self.snapshots = self.state_log = None
        if before is not None and before.manifest.generation != self.manifest.generation:
            before = None
        for name, entry in self.manifest.logs.items():
            if name in ENTITY and f"{name}/level_0/value" in nodes:
                known = before.families.get(name) if before else None
                renew = self._renewal(partial(_family_log, name=name))
                self.families[name] = FamilyReader(
                    storage, self._arrays, name, entry, known.log if known else None, renew
                )
        self.validation = self._reader(VALIDATION, ("predicted", "probability", "rank", "iteration"), before)
        self.snapshots = self._reader(SNAPSHOTS, ("weights", "iteration"), before)
        self.state_log = self._reader(STATES, self._state_arrays(), before, "state_log", f"{STATES}/level_0")
        self.validation_fields = {field.name: field for field in validation_fields(self.manifest.images)}
        weights = self.manifest.logs[SNAPSHOTS].entities if SNAPSHOTS in self.manifest.logs else 0
        self.snapshot_field = snapshot_field(weights)

    def _reader(
        self, name: str, keys: tuple[str, ...], before: Commit | None, attribute: str = "", group: str = ""
    ) -> LogReader | None:
        """Return the reader of a log, which is kept as an attribute of that name, or of the log's."""
        entry, attribute = self.manifest.logs.get(name), attribute or name
        if entry is None:
            return None
        known = getattr(before, attribute) if before else None
        arrays = {key: self._arrays.readable(f"{group or name}/{key}") for key in keys}
        return LogReader(self.storage, arrays, entry, known, self._renewal(lambda commit: getattr(commit, attribute)))

    def _state_arrays(self) -> tuple[str, ...]:
        levels = (f"images_{level}" for level in range(10) if f"{STATES}/level_0/images_{level}" in self._arrays)
        return (*levels, "iteration")

    def derived(self, name: str) -> bool:
        """Return whether states, or series of classes, are kept of every validation: not in runs of earlier days."""
        logs = self.manifest.logs
        return name in logs and VALIDATION in logs and logs[name].records == logs[VALIDATION].records

    def states(self) -> StateReader | None:
        """Return the reader of the images' states; None where they are not kept of every validation."""
        if self.state_log is None or not self.derived(STATES):
            return None
        levels = len(self.state_log.arrays) - 1
        return StateReader(self.storage, self._arrays.readable, self.manifest.logs[STATES], self.state_log, levels)

    @property
    def class_records(self) -> FamilyReader | None:
        """The reader of the classes' series; None where they are not kept of every validation."""
        return self.families.get(CLASSES) if self.derived(CLASSES) else None

    def _renewal(self, pick: Callable[[Commit], LogReader]) -> Callable[[], LogReader]:
        """Return what opens the same log as of the newest commit."""

        def renew() -> LogReader:
            newest = Commit(self.storage)
            if newest.manifest.generation != self.manifest.generation:
                raise RunFormatError(
                    f"{self.storage} was cut back and recorded anew while it was read; refresh the run."
                )
            return pick(newest)

        return renew

    def has(self, path: str) -> bool:
        """Return whether the commit names an array."""
        return path in self._arrays

    def array(self, path: str) -> zarr.Array:  # type: ignore[type-arg]
        """Return an array by path as the commit describes it."""
        return self._arrays[path]

    def read(self, path: str, index: Any = ()) -> NDArray[Any]:
        """Return values of an array that is small enough to be read whole; RunFormatError where it is damaged."""
        array = self.array(path)
        try:
            return np.asarray(array[index])
        except (ValueError, RuntimeError, OSError) as error:
            wrong = damaged_file(self.storage, path, Presence(self.nodes, self.manifest.widths))
            raise RunFormatError(
                f"{self.storage}/{wrong}. What lies in other files of the run is not affected; `deeptracker check` "
                "says what is."
            ) from error


def _family_log(commit: Commit, name: str) -> LogReader:
    return commit.families[name].log
