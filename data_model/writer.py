"""Writing a run: append, commit, close; killed at any moment, everything committed is there and readable."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.axis import Iterations
from deeptracker.data_model.derived import Derived
from deeptracker.data_model.errors import NotARunError, RecordingError, RunAccessError
from deeptracker.data_model.families import SNAPSHOTS
from deeptracker.data_model.folder import access, require_empty
from deeptracker.data_model.holder import LOCK
from deeptracker.data_model.image_table import ImageTable
from deeptracker.data_model.lock import Lock, acquire
from deeptracker.data_model.logs import Logs
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.missing import is_missing
from deeptracker.data_model.root import COPY, encode_root, read_root
from deeptracker.data_model.storage import Place, Stamp, open_storage, wait_for_stragglers
from deeptracker.data_model.tree import ArrayTree
from deeptracker.data_model.vocabulary import (
    ACTIVATIONS,
    FILTERS,
    LAYERS,
    SCALARS,
    Description,
    Layer,
    Statistic,
)

MOST_NOTES = 1000


class RunWriter:
    """Appends to a run. Not thread-safe: one thread owns it.

    Nothing appended is visible to readers before `commit`; everything is, whatever happens, after it.
    """

    def __init__(self, held: Lock, manifest: Manifest, nodes: Mapping[str, Any]) -> None:
        """Use `create` or `resume` instead: they check the place and take the run's lock."""
        self.storage, self.manifest, self._lock = held.storage, manifest, held
        self._tree = ArrayTree(self.storage, nodes, manifest.widths)
        self._logs = Logs(self.storage, self._tree, manifest)
        self._images = ImageTable(self._tree, manifest)
        self._derived = Derived(self._logs, self._images, manifest)
        self._closed = False

    @classmethod
    def create(
        cls,
        place: Place,
        description: Description,
        layers: Sequence[Layer],
        layer_statistics: Sequence[Statistic],
        filter_statistics: Sequence[Statistic],
        activation_statistics: Sequence[Statistic] = (),
    ) -> Self:
        """Start a new run in an empty or absent folder, given as a path, a URL or a storage.

        Raises RunExistsError where a run is, or where the folder holds other files: nothing is ever overwritten.
        """
        storage = open_storage(place)
        manifest = Manifest(
            description,
            list(layers),
            list(layer_statistics),
            list(filter_statistics),
            list(activation_statistics),
            created_at=time.time(),
        )
        with access(storage):
            require_empty(storage)
            storage.prepare()
            held = acquire(storage)
        try:
            require_empty(storage)
            return cls._start(held, manifest)
        except BaseException:
            held.release()
            raise

    @classmethod
    def _start(cls, held: Lock, manifest: Manifest) -> Self:
        """Write the first commit; the folder holds nothing, and is this process's own."""
        held.storage.clear(keep=(LOCK,))
        try:
            with access(held.storage):
                writer = cls(held, manifest, {})
                writer._logs.describe()
                writer.commit()
        except BaseException:
            wait_for_stragglers()
            held.storage.clear(keep=(LOCK,))
            raise
        return writer

    @classmethod
    def resume(cls, place: Place, before: int | None = None) -> Self:
        """Continue a run after a crash or after it was closed, from exactly what was committed.

        With `before`, a training restarts from an earlier iteration: the steps from there on, and validations and
        snapshots after it, are cut off, and the cut is noted in the run.
        """
        storage = open_storage(place)
        if storage.kind() == "nothing":
            raise NotARunError(f"There is nothing at {storage} to resume. Leave resume=True out to start a new run.")
        read_root(storage)
        with access(storage):
            held = acquire(storage)
        try:
            manifest, nodes, stamp = read_root(storage)
            before_it = [piece.name for entry in manifest.logs.values() for piece in entry.tail]
            manifest.state = "recording"
            with access(storage):
                writer = cls(held, manifest, nodes)
                last = writer.last_iteration
                if before is not None:
                    writer._images.cut(before)
                if writer._logs.restore(before):
                    manifest.generation += 1
                    writer.note("cut", before=before, last=last)
                writer._derived.catch_up()
                writer.note("resumed", iteration=writer.last_iteration)
                held.storage.delete(COPY)
                writer.commit(stamp)
                writer._logs.forget_leftovers(before_it)
        except BaseException:
            wait_for_stragglers()
            held.release()
            raise
        return writer

    @property
    def layers(self) -> list[Layer]:
        """The layers of the run, in network order."""
        return self.manifest.layers

    @property
    def last_iteration(self) -> int | None:
        """The last iteration of any family; None when nothing was recorded."""
        last = max((entry.axis.last for entry in self.manifest.logs.values()), default=-1)
        return None if last < 0 else last

    def append_scalars(self, iterations: Iterations, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Append scalars by name, each (n,) float64; plain NaN where a name was not logged. New names may come."""
        names = self.manifest.scalars
        new = [name for name in values if name not in names]
        if new:
            names.extend(new)
            self._logs.grow_scalars()
        block = np.full((len(iterations), 1, len(names)), np.nan)
        for name, series in values.items():
            block[:, 0, names.index(name)] = series
        logged = ~is_missing(block).all(axis=(1, 2))
        self._logs[SCALARS].append(iterations[logged], 1, {"value": block[logged]})

    def append_layers(self, iterations: Iterations, values: NDArray[np.float32], interval: int = 1) -> None:
        """Append layer statistics, (n, statistic, layer) float32."""
        self._append(LAYERS, iterations, values, interval)

    def append_activations(self, iterations: Iterations, values: NDArray[np.float32], interval: int = 1) -> None:
        """Append statistics of the layers' outputs, (n, statistic, layer) float32; plain NaN for layers not watched."""
        self._append(ACTIVATIONS, iterations, values, interval)

    def append_filters(self, iterations: Iterations, values: NDArray[np.float32], interval: int = 1) -> None:
        """Append filter statistics, (n, statistic, filter) float32."""
        self._append(FILTERS, iterations, values, interval)

    def _append(self, family: str, iterations: Iterations, values: NDArray[Any], interval: int) -> None:
        shape = (len(self.manifest.statistics[family]), self.manifest.entity_count(family))
        if values.shape != (len(iterations), *shape):
            raise RecordingError(
                f"The records of {family} have shape {values.shape}; {(len(iterations), *shape)} was expected: "
                "(records, statistics, entities)."
            )
        self._logs[family].append(iterations, interval, {"value": values})

    def append_validation(
        self,
        iteration: int,
        ids: Sequence[str],
        classes: NDArray[np.int32],
        predicted: NDArray[np.int32],
        probability: NDArray[np.float32],
        rank: NDArray[np.int32],
    ) -> dict[str, int]:
        """Append one finished validation: per image its class, the class it was taken for, the true class's
        probability and rank (0: it came first). Ids may come in any order; images left out are marked as such.

        Return how many of the run's images were missing, and how many images were new or had another class before.
        """
        columns, odd = self._images.place(iteration, ids, classes)
        self._logs.grow_images()
        row = self._logs.blank_validation()
        for name, values in (("predicted", predicted), ("probability", probability), ("rank", rank)):
            row[name][0, columns] = values
        at = np.array([iteration], np.int64)
        self._logs["validation"].append(at, 1, row)
        self._derived.append(at, row)
        return odd

    @property
    def pictured(self) -> set[str]:
        """The ids of the images that have a thumbnail."""
        return self._images.pictured()

    def add_thumbnails(self, ids: Sequence[str], images: NDArray[np.uint8]) -> None:
        """Keep small pictures, (n, height, width, 3) uint8; all of a run have one size. Ids may be new."""
        self._images.add_thumbnails(ids, images)

    def append_snapshot(
        self, iteration: int, weights: Sequence[NDArray[np.float32]], layers: Sequence[int] | None = None
    ) -> None:
        """Keep weights, one array per layer: of all layers in network order, or of those with the numbers given."""
        numbers = list(range(len(self.layers)) if layers is None else layers)
        given, wanted = [weight.size for weight in weights], [self.layers[number].size for number in numbers]
        if given != wanted:
            raise RecordingError(f"A snapshot of layers {numbers} has {wanted} weights; {given} were given.")
        kept = self.manifest.snapshot_layers
        entry = self.manifest.logs.get(SNAPSHOTS)
        kept.add(entry.records if entry else 0, numbers)
        flat = np.full(kept.weights(self.layers), np.nan, np.float32)
        for number, weight in zip(numbers, weights, strict=True):
            flat[kept.place(number, self.layers)] = np.asarray(weight, np.float32).ravel()
        self._logs.append_snapshot(iteration, flat)

    def add_layers(self, layers: Sequence[Layer]) -> None:
        """Take in layers that join the network while it is recorded, behind those that it has.

        Their filters come behind the filters so far. Earlier records hold nothing of them; snapshots keep the layers
        they have. RecordingError where the run has a layer of that name already.
        """
        names = [layer.name for layer in (*self.layers, *layers)]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise RecordingError(f"The run has a layer {twice!r} already; a layer that joins needs a name of its own.")
        if layers:
            self.manifest.layers.extend(layers)
            self._logs.grow_layers()
            self.note("layers", joined=names[-len(layers) :], last=self.last_iteration)

    def note(self, key: str, **values: Any) -> None:
        """Put an event into the run's own log: a changed interval, a wait for the disk, a resume."""
        notes = self.manifest.notes
        notes.append({"key": key, "at": time.time(), **values})
        if len(notes) > MOST_NOTES:
            # The kind that there is most of loses its oldest: a thousand waits do not push out the one cut.
            crowd, _ = Counter(one["key"] for one in notes).most_common(1)[0]
            notes.remove(next(one for one in notes if one["key"] == crowd))

    def commit(self, before: Stamp | None = None) -> None:
        """Make everything appended so far durable and visible, at once; `before` as for `Lock.publish`."""
        self._logs.write_tails()
        self._publish(before)
        self._logs.forget_dropped()

    def _publish(self, before: Stamp | None = None) -> bytes:
        self.manifest.commits += 1
        self.manifest.committed_at = time.time()
        root = encode_root(self.manifest, self._tree.nodes())
        self._lock.publish(root, before)
        return root

    def close(self) -> None:
        """Commit, write the unfinished shards so that stock xarray sees every record, and release the lock."""
        if self._closed:
            return
        self._closed = True
        try:
            self._logs.close()
            self.manifest.state = "closed"
            self._tree.settle()
            root = self._publish()
            with suppress(OSError, RunAccessError):  # closed by now, also where there is no room for a copy
                self.storage.write(COPY, root, durable=True)
            self._logs.forget_dropped()
        finally:
            self._logs.let_go()
            self._lock.release()

    def abandon(self) -> None:
        """Write nothing more and release the lock: the run stays as it was last committed, and others may take it."""
        self._closed = True
        self._logs.let_go()
        wait_for_stragglers()
        self._lock.release()
