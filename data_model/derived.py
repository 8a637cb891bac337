"""What follows from the validations and is kept beside them: states of images, and series of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.axis import Iterations
from deeptracker.data_model.class_series import class_means
from deeptracker.data_model.families import MISSING_RESULT, VALIDATION
from deeptracker.data_model.image_states import NEVER, Codes, group_counts, merge_groups, next_states
from deeptracker.data_model.image_table import ImageTable
from deeptracker.data_model.logs import Logs
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.state_layout import FIRST_SPAN, SPAN_FACTOR, STATES, span_of
from deeptracker.data_model.vocabulary import CLASSES

Results = Mapping[str, NDArray[Any]]

_CELLS = 1 << 22
"""Results of so many images, over several validations, are worked on at once: it bounds the memory."""


class Derived:
    """Appends to the logs of states and of classes whatever is appended to the validations."""

    def __init__(self, logs: Logs, images: ImageTable, manifest: Manifest) -> None:
        """Continue the logs of a run."""
        self._logs, self._images, self._manifest = logs, images, manifest
        self._before: Codes | None = None

    def append(self, iterations: Iterations, results: Results) -> None:
        """Take validations, as `results` over (validation, image) of all images of the run; they come in order."""
        self.append_states(iterations, results)
        self.append_classes(iterations, results)

    def append_states(self, iterations: Iterations, results: Results) -> None:
        """Append the states of all images, and their counts by group."""
        log = self._logs[STATES]
        if self._before is None:
            done = log.entry.records
            newest = log.rows("images_0", done - 1, done) if done else np.zeros((1, 0), np.uint8)
            self._before = newest[0]
        more = results["predicted"].shape[1] - len(self._before)
        before = np.pad(self._before, (0, more), constant_values=NEVER)
        codes = next_states(before, results["predicted"] != MISSING_RESULT, results["rank"] == 0)
        columns: dict[str, NDArray[Any]] = {"images_0": codes}
        for level in range(1, len(log.fields) - 1):
            columns[f"images_{level}"] = (
                group_counts(codes, FIRST_SPAN)
                if level == 1
                else merge_groups(columns[f"images_{level - 1}"], SPAN_FACTOR, span_of(level))
            )
        log.append(iterations, 1, columns)
        self._before = codes[-1]

    def append_classes(self, iterations: Iterations, results: Results) -> None:
        """Append error, loss and probability of every class, by the classes that the images had then."""
        classes = self._manifest.classes
        means = [
            class_means(predicted != MISSING_RESULT, rank == 0, probability, self._images.classes_at(at), classes)
            for at, predicted, probability, rank in zip(
                iterations.tolist(), results["predicted"], results["probability"], results["rank"], strict=True
            )
        ]
        self._logs[CLASSES].append(iterations, 1, {"value": np.stack(means)})

    def catch_up(self) -> None:
        """Derive what is lacking from all validations so far: of a run that was recorded without it."""
        if VALIDATION not in self._manifest.logs or not self._manifest.images:
            return
        source = self._logs[VALIDATION]
        for name, append in ((STATES, self.append_states), (CLASSES, self.append_classes)):
            self._logs.grow_derived(name)
            done, total = self._logs[name].entry.records, source.entry.records
            step = max(1, _CELLS // self._manifest.images)
            for first in range(done, total, step):
                stop = min(total, first + step)
                rows = {key: source.rows(key, first, stop) for key in ("predicted", "probability", "rank")}
                append(source.entry.axis.iterations(first, stop), rows)
