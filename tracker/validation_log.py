"""Finished validations on their way to the run: results, thumbnails, and what was odd about them."""

from __future__ import annotations

import warnings

import numpy as np

from deeptracker.data_model.writer import RunWriter
from deeptracker.tracker.background import Background
from deeptracker.tracker.thumbnails import Thumbnails
from deeptracker.tracker.validation import Results

_SHOWN = 3


class ValidationLog:
    """Hands validations to the background thread. What is odd about them is noted in the run."""

    def __init__(self, background: Background, last: int, thumbnails: Thumbnails) -> None:
        """Continue after the validation at iteration `last` (-1: none)."""
        self.last = last
        self.thumbnails, self._background = thumbnails, background
        self._warned = self._full = False
        self._unreadable = 0

    def add(self, results: Results) -> None:
        """Have the results written. The validation's iteration must be above `last`."""
        judged, ids = results.judged, results.ids
        if judged is None:
            return
        self.last = results.iteration
        repeated = results.repeated
        if repeated and not self._warned:
            self._warned = True
            warnings.warn(
                f"{len(repeated)} images came twice in the validation at iteration {results.iteration}, such as "
                f"{', '.join(map(repr, repeated[:_SHOWN]))}: the last result of each holds. Give every image an id of "
                "its own, also across data loaders.",
                RuntimeWarning,
                stacklevel=6,
            )

        def write(writer: RunWriter) -> None:
            odd = writer.append_validation(
                results.iteration, ids, judged.classes, judged.predicted, judged.probability, judged.rank
            )
            odd = {**odd, "repeated": len(repeated)}
            if any(odd.values()):
                writer.note("validation", iteration=results.iteration, **odd)

        self._background.submit(write, 64 * len(ids))
        self._add_thumbnails(results)

    def _add_thumbnails(self, results: Results) -> None:
        if results.pictures:
            ids, made = list(results.pictures), np.stack(list(results.pictures.values()))
            self._background.submit(lambda writer: writer.add_thumbnails(ids, made), made.nbytes)
        left_out, unreadable = self.thumbnails.left_out, self.thumbnails.unreadable
        if left_out and not self._full:
            self._full = True
            self._background.submit(lambda writer: writer.note("no room for thumbnails", images=left_out))
        if len(unreadable) > self._unreadable:
            new, (image, reason) = len(unreadable) - self._unreadable, list(unreadable.items())[-1]
            self._unreadable = len(unreadable)
            values = {"images": new, "such_as": image, "reason": reason}
            self._background.submit(lambda writer: writer.note("thumbnails not readable", **values))
