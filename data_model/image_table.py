"""The validation images: ids, classes and thumbnails, one row per image, in the order of the validation arrays.

Beside the class that an image was first given stand the changes since, with the iteration of the validation that
brought them: results of before that were judged by the class of then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from deeptracker.data_model.compression import compressors
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.relabelling import CHANGE, classes_after, classes_at, first_classes, no_changes
from deeptracker.data_model.tree import ArrayTree

GROUP = "images"
_ROWS = 4096
_THUMBNAILS = 64


class ImageTable:
    """Maps ids to rows. Images of the first validation are sorted by class; later ones are appended."""

    def __init__(self, tree: ArrayTree, manifest: Manifest) -> None:
        """Continue the table of a run, or start an empty one."""
        self._tree = tree
        self._manifest = manifest
        known = manifest.images
        self._rows: dict[str, int] = {}
        self._first = np.zeros(0, np.int32)
        path = f"{GROUP}/relabelled"
        self._changes = np.asarray(tree[path][:]) if path in tree else no_changes()
        if known:
            self._rows = {str(one): row for row, one in enumerate(np.asarray(tree[f"{GROUP}/id"][:known]))}
            given = np.asarray(tree[f"{GROUP}/class"][:known])
            self._first = first_classes(given, self._changes)
            if not np.array_equal(given, self._first):  # it was recorded when this array had the newest classes
                tree[f"{GROUP}/class"][:known] = self._first
        self._classes = classes_after(self._first, self._changes)
        if manifest.version == 1 and f"{GROUP}/has_thumbnail" in tree:
            # Version 1 left out of this array what is False everywhere.
            tree[f"{GROUP}/has_thumbnail"][:] = np.asarray(tree[f"{GROUP}/has_thumbnail"][:])
        self._count_classes()

    def place(
        self, iteration: int, ids: Sequence[str], classes: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], dict[str, int]]:
        """Return the row of each id, taking new ids in, and how many images were missing, new and relabelled.

        Where a known image has another class now, that holds from now on.
        """
        if len(set(ids)) != len(ids):
            raise RecordingError("An image came twice in one validation; give each image an id of its own.")
        known = len(self._rows)
        fresh = [number for number, one in enumerate(ids) if one not in self._rows]
        if fresh:
            fresh.sort(key=lambda number: (int(classes[number]), number))
            self._append([ids[number] for number in fresh], classes[fresh])
        rows = np.array([self._rows[one] for one in ids], np.int64)
        other = rows[self._classes[rows] != classes]
        if len(other):
            self._relabel(iteration, rows, classes)
        self._count_classes()
        missing = known + len(fresh) - len(ids)
        return rows, {"missing": missing, "new": len(fresh) if known else 0, "relabelled": len(other)}

    def _count_classes(self) -> None:
        known = (self._manifest.classes, len(self._manifest.description.classes), self._classes.max(initial=-1) + 1)
        self._manifest.classes = int(max(known))

    def classes_at(self, iteration: int) -> NDArray[np.int32]:
        """Return the class that every image had at a validation."""
        return classes_at(self._classes, self._changes, iteration)

    def _relabel(self, iteration: int, rows: NDArray[np.int64], classes: NDArray[np.int32]) -> None:
        changed = self._classes[rows] != classes
        before, after = self._classes[rows[changed]], classes[changed]
        events = np.stack([rows[changed], np.full(len(before), iteration), before, after], axis=1).astype(np.int64)
        # No two arrays of a run may share a dimension's name at different lengths: thumbnails have a "column".
        self._table("relabelled", "int64", 0, (len(CHANGE),), ("change", "what"), meaning=", ".join(CHANGE))
        self._changes = np.concatenate([self._changes, events])
        table = self._tree.resize(f"{GROUP}/relabelled", self._changes.shape)
        table[-len(events) :] = events
        self._classes[rows] = classes

    def cut(self, before: int) -> None:
        """Give back the classes that images had at iteration `before`; images that came later stay known."""
        if f"{GROUP}/relabelled" not in self._tree:
            return
        self._changes = self._changes[self._changes[:, 1] <= before]
        self._classes = classes_after(self._first, self._changes)
        self._tree.declare(f"{GROUP}/relabelled", self._changes.shape)

    def pictured(self) -> set[str]:
        """Return the ids of the images that have a thumbnail."""
        if f"{GROUP}/has_thumbnail" not in self._tree:
            return set()
        has = np.asarray(self._tree[f"{GROUP}/has_thumbnail"][:])
        return {name for name, row in self._rows.items() if row < len(has) and has[row]}

    def _append(self, ids: Sequence[str], classes: NDArray[np.int32]) -> None:
        start, stop = len(self._rows), len(self._rows) + len(ids)
        self._rows.update(zip(ids, range(start, stop), strict=True))
        self._first, self._classes = (
            np.append(known, classes.astype(np.int32)) for known in (self._first, self._classes)
        )
        names = self._ids()
        names.resize((stop,))
        names[start:stop] = np.array(ids, dtype=np.dtypes.StringDType())
        meaning = "class that the image was first given; relabelled has the changes since"
        numbers = self._array("class", "int32", 0, (), (), meaning=meaning)
        numbers.resize((stop,))
        numbers[start:stop] = self._first[start:stop]
        if f"{GROUP}/thumbnail" in self._tree:
            self._resize_thumbnails(stop)
        self._manifest.images = stop

    def _ids(self) -> zarr.Array[Any]:
        path = f"{GROUP}/id"
        if path in self._tree:
            return self._tree[path]
        strings = np.dtypes.StringDType()
        return self._tree.create(
            path,
            shape=(0,),
            chunks=(_ROWS,),
            dtype=strings,
            dimension_names=("image",),
            compressors=compressors(strings),
        )

    def _array(
        self,
        name: str,
        dtype: str,
        fill: int,
        shape: tuple[int, ...],
        dims: tuple[str, ...],
        rows: int = _ROWS,
        meaning: str = "",
    ) -> zarr.Array[Any]:
        """Return an array with one entry per image, created when it is first needed."""
        return self._table(name, dtype, fill, shape, ("image", *dims), rows, meaning)

    def _table(
        self,
        name: str,
        dtype: str,
        fill: int,
        shape: tuple[int, ...],
        dims: tuple[str, ...],
        rows: int = _ROWS,
        meaning: str = "",
    ) -> zarr.Array[Any]:
        path = f"{GROUP}/{name}"
        if path in self._tree:
            return self._tree[path]
        return self._tree.create(
            path,
            shape=(0, *shape),
            chunks=(rows, *shape),
            dtype=dtype,
            fill_value=fill,
            dimension_names=dims,
            compressors=compressors(dtype),
            attributes={"long_name": meaning} if meaning else {},
        )

    def _resize_thumbnails(self, rows: int) -> None:
        shape = self._manifest.thumbnail_shape
        pictures = self._array("thumbnail", "uint8", 0, shape, ("row", "column", "channel"), _THUMBNAILS)
        pictures.resize((rows, *shape))
        has = self._array("has_thumbnail", "bool", False, (), ())
        known = has.shape[0]
        has.resize((rows,))
        # Written although it is the fill value: a killed writer may have left other rows in the same file.
        has[known:] = False

    def add_thumbnails(self, ids: Sequence[str], images: NDArray[np.uint8]) -> None:
        """Keep a picture per id, (n, height, width, 3) uint8. Ids must be known from a validation."""
        unknown = [one for one in ids if one not in self._rows]
        if unknown:
            raise RecordingError(f"Image {unknown[0]!r} is in no validation yet; log its result before its thumbnail.")
        shape = tuple(images.shape[1:])
        if not self._manifest.thumbnail_shape:
            self._manifest.thumbnail_shape = shape
        if shape != self._manifest.thumbnail_shape or images.dtype != np.uint8:
            raise RecordingError(
                f"Thumbnails of this run are uint8 {self._manifest.thumbnail_shape}; {images.dtype} {shape} was given."
            )
        self._resize_thumbnails(len(self._rows))
        rows = np.array([self._rows[one] for one in ids], np.int64)
        order = np.argsort(rows)
        pictures = self._array("thumbnail", "uint8", 0, shape, ("row", "column", "channel"), _THUMBNAILS)
        pictures.oindex[rows[order]] = images[order]
        self._array("has_thumbnail", "bool", False, (), ()).oindex[rows] = True
