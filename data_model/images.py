"""The validation images of a run: who they are and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.class_series import class_means
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.families import MISSING_RESULT
from deeptracker.data_model.flip_counts import FlipCounts
from deeptracker.data_model.raw_states import RawStates
from deeptracker.data_model.relabelling import classes_after, classes_at, first_classes, no_changes
from deeptracker.data_model.state_reader import StateSource
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import CLASS_STATISTICS

_CELLS = 1 << 22
"""Results of so many images, over several validations, are worked on at once: it bounds the memory."""


class Images:
    """Images and validations as of one commit; class series grow by the new validations only."""

    def __init__(self, commit: Commit, before: Images | None = None) -> None:
        """Take the commit, and the images of the commit before for what need not be read again."""
        self._commit = commit
        manifest = commit.manifest
        known = before if before is not None and len(before.ids) == manifest.images else None
        self.ids: NDArray[Any] = known.ids if known else self._ids(manifest.images)
        path = "images/relabelled"
        self._changes = commit.read(path) if commit.has(path) else no_changes()
        given = commit.read("images/class") if manifest.images else np.zeros(0, np.int32)
        self.image_class = classes_after(first_classes(given, self._changes), self._changes)
        self.class_names = self._names()
        entry = manifest.logs.get("validation")
        self.axis = entry.axis if entry else IterationAxis()
        self._series: NDArray[np.float32] | None = None
        self._flips = FlipCounts.none(len(self.ids), len(self.class_names))
        self._raw_states: RawStates | None = None
        same = known is not None and np.array_equal(known.image_class, self.image_class)
        if known is not None and same and known.axis.records <= self.axis.records and self._continues(known):
            self._series, self._flips = known._series, known._flips

    def _continues(self, before: Images) -> bool:
        return self._commit.manifest.generation == before._commit.manifest.generation

    def _ids(self, count: int) -> NDArray[Any]:
        if not count:
            return np.zeros(0, object)
        return self._commit.read("images/id").astype(object)

    def _names(self) -> list[str]:
        given = list(self._commit.manifest.description.classes)
        count = max(int(self.image_class.max(initial=-1)) + 1, self._commit.manifest.classes)
        return given + [str(number) for number in range(len(given), count)]

    def results(
        self, images: Sequence[int] | slice | None = None, first: int = 0, stop: int | None = None
    ) -> ValidationResults:
        """Return the results of validations [first, stop); all from `first` on without `stop`."""
        stop = self.axis.records if stop is None else stop
        index = slice(None) if images is None else images if isinstance(images, slice) else np.asarray(images, np.int64)
        reader, fields = self._commit.validation, self._commit.validation_fields
        columns: dict[str, Any] = {}
        for name, field in fields.items():
            if reader is None:
                columns[name] = np.zeros((0, len(self.ids[index])), field.dtype)
            else:
                columns[name] = reader.rows(name, first, stop, field, (index,))
        iteration = self.axis.iterations(first, stop)
        return ValidationResults(iteration, self.ids[index], self.image_class[index], **columns)

    def portions(
        self, images: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], ValidationResults]]:
        """Yield the numbers of some images, and their results at all validations, until all were there.

        Portions are as wide as the chunks that hold them, so that each is decoded once, and bounded in memory.
        """
        chosen = np.arange(len(self.ids)) if images is None else np.unique(np.asarray(images, np.int64))
        fitting = max(1, _CELLS // max(1, self.axis.records))
        chunk = self._commit.array("validation/predicted").chunks[1] if self._commit.validation else fitting
        place = chosen // max(chunk, fitting // chunk * chunk)
        for number in np.unique(place):
            some = chosen[place == number]
            span = slice(int(some[0]), int(some[-1]) + 1)
            yield some, self.results(span if span.stop - span.start == len(some) else some)

    def relabelled(self) -> pd.DataFrame:
        """Return each change of an image's class: its id, the validation's iteration, the class before and after."""
        table = self._changes
        names = np.array([*self.class_names, "?"], dtype=object)
        known = len(names) - 1
        before, after = (np.where((column >= 0) & (column < known), column, known) for column in table[:, 2:].T)
        rows = np.clip(table[:, 0], 0, max(len(self.ids) - 1, 0))
        return pd.DataFrame(
            {"image": self.ids[rows], "iteration": table[:, 1], "before": names[before], "after": names[after]}
        )

    def states(self) -> StateSource:
        """Return what knows the states of all images: the store, or for runs of before it did, the validations."""
        return self._commit.states() or self.raw_states()

    def raw_states(self) -> RawStates:
        """Return the same, from the validations in any case."""
        if self._raw_states is None:
            self._raw_states = RawStates(self._answers, self.axis.records, len(self.ids))
        return self._raw_states

    def _answers(self, first: int, stop: int, images: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        reader, fields = self._commit.validation, self._commit.validation_fields
        assert reader is not None
        predicted, rank = (reader.rows(key, first, stop, fields[key], (images,)) for key in ("predicted", "rank"))
        return predicted != MISSING_RESULT, rank == 0

    def class_series(self) -> NDArray[np.float32]:
        """Return error, loss and probability per class, (validation, 3, 1 + class), the first column: all images.

        Computed from all results, for runs of before these series were stored.
        """
        done = len(self._series) if self._series is not None else 0
        if self._series is None or done < self.axis.records:
            parts = [] if self._series is None else [self._series]
            parts += [self._class_means(results) for results in self._from(done)]
            empty = np.zeros((0, len(CLASS_STATISTICS), 1 + len(self.class_names)), np.float32)
            self._series = np.concatenate(parts) if parts else empty
        return self._series

    def _class_means(self, results: ValidationResults) -> NDArray[np.float32]:
        changes, classes = self._changes, len(self.class_names)
        rows = zip(results.iteration.tolist(), results.seen, results.right, results.probability, strict=True)
        return np.stack(
            [
                class_means(seen, right, probability, classes_at(self.image_class, changes, at), classes)
                for at, seen, right, probability in rows
            ]
        )

    def flip_counts(self) -> FlipCounts:
        """Return how many images of each class flipped at each validation."""
        for results in self._from(len(self._flips.iteration)):
            self._flips = self._flips.extended(results)
        return self._flips

    def _from(self, first: int) -> Iterator[ValidationResults]:
        """Yield the results of all images from a validation on, some validations at a time."""
        portion = max(1, _CELLS // max(1, len(self.ids)))
        for begin in range(first, self.axis.records, portion):
            yield self.results(first=begin, stop=min(begin + portion, self.axis.records))

    def thumbnail(self, image: int) -> NDArray[np.uint8] | None:
        """Return an image's small picture, (height, width, 3) uint8; None when none was recorded."""
        if not self._commit.manifest.thumbnail_shape or not 0 <= image < len(self.ids):
            return None
        if not bool(self._commit.read("images/has_thumbnail", image)):
            return None
        return self._commit.read("images/thumbnail", image)
