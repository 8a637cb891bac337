"""Finished validations on their way to the run: results, thumbnails, and what was odd about them."""

from __future__ import annotations

import numpy as np

from deeptracker.data_model.writer import RunWriter
from deeptracker.tracker.background import Background
from deeptracker.tracker.thumbnails import MOST_BYTES, thumbnail_size, thumbnails
from deeptracker.tracker.validation import Results


class ValidationLog:
    """Hands validations to the background thread. Missing, new and repeated images are noted in the run."""

    def __init__(self, background: Background, last: int, pictured: int, size: tuple[int, int] | None) -> None:
        """Continue after the validation at iteration `last` (-1: none), with `pictured` thumbnails of a `size`."""
        self.last = last
        self._background = background
        self._known: set[str] = set()
        self._pictured: set[str] = set()
        self._size = size
        self._bytes = 0 if size is None else pictured * size[0] * size[1] * 3

    def wants_thumbnail(self, image: str) -> bool:
        """Return whether there is no thumbnail of the image yet, and room for one."""
        return image not in self._pictured and self._bytes < MOST_BYTES

    def add(self, results: Results) -> None:
        """Have the results written. The validation's iteration must be above `last`."""
        self.last = results.iteration
        judged, ids = results.judged, results.ids
        notes = self._oddities(results)

        def write(writer: RunWriter) -> None:
            writer.append_validation(
                results.iteration, ids, judged.classes, judged.predicted, judged.probability, judged.rank
            )
            if notes:
                writer.note("validation", iteration=results.iteration, **notes)

        self._background.submit(write, 64 * len(ids))
        self._add_thumbnails(results)

    def _oddities(self, results: Results) -> dict[str, int]:
        ids = set(results.ids)
        missing, new = len(self._known - ids), len(ids - self._known) if self._known else 0
        self._known |= ids
        counts = {"missing": missing, "new": new, "repeated": results.repeated}
        return {name: count for name, count in counts.items() if count}

    def _add_thumbnails(self, results: Results) -> None:
        pictures = {one: image for one, image in zip(results.ids, results.images, strict=True) if image is not None}
        if not pictures:
            return
        first = next(iter(pictures.values()))
        self._size = self._size or thumbnail_size(*first.shape[-2:])
        room = max((MOST_BYTES - self._bytes) // (self._size[0] * self._size[1] * 3), 0)
        ids = list(pictures)[:room]
        left_out = len(pictures) - len(ids)
        self._pictured.update(ids)
        if ids:
            made = thumbnails([pictures[one] for one in ids], self._size)
            self._bytes += made.nbytes
            self._background.submit(lambda writer: writer.add_thumbnails(ids, np.ascontiguousarray(made)), made.nbytes)
        if left_out:
            self._bytes = MOST_BYTES
            self._background.submit(lambda writer: writer.note("no room for thumbnails", images=left_out))
