"""The results of all validations in memory, and the error, loss and probability of each class that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.families import MISSING_RESULT

CLASS_STATISTICS = ("error", "loss", "probability")
_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class ValidationResults:
    """Results over (validation, image), with the images' ids and class numbers.

    `predicted` and `rank` are int32 with -1, `probability` float32 with NaN, where an image was not validated.
    """

    iteration: NDArray[np.int64]
    image: NDArray[Any]
    image_class: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probability: NDArray[np.float32]
    rank: NDArray[np.int32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image was taken for the class it had then, (validation, image); False where not validated.

        By the rank, not by `image_class`: an image may have been given another class since.
        """
        first: NDArray[np.bool_] = self.rank == 0
        return first

    @property
    def correct(self) -> NDArray[np.int8]:
        """As `right`, (validation, image): 1 right, 0 wrong, -1 where the image was not validated."""
        return np.where(self.seen, self.right, -1).astype(np.int8)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether each image was validated, (validation, image)."""
        known: NDArray[np.bool_] = self.predicted != MISSING_RESULT
        return known


def class_series(results: ValidationResults, classes: int) -> NDArray[np.float32]:
    """Return error, loss and mean probability of the true class, (validation, 3, class + 1) float32.

    The last column is over all images. The error is a share of 0 to 1, the loss the mean of -log(probability) in
    nats. NaN where a class had no image in a validation.
    """
    seen = results.seen
    probability = np.where(seen, results.probability, 0).astype(np.float64)
    surprise = np.where(seen, -np.log(np.maximum(probability, _SMALLEST_PROBABILITY)), 0)
    wrong = (seen & ~results.right).astype(np.float64)
    count = _class_sums(seen.astype(np.float64), results.image_class, classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [_class_sums(values, results.image_class, classes) / count for values in (wrong, surprise, probability)]
    return np.stack(parts, axis=1).astype(np.float32)


def _class_sums(values: NDArray[np.float64], image_class: NDArray[np.int32], classes: int) -> NDArray[np.float64]:
    """Sum (validation, image) over the images of each class, and of all: (validation, class + 1)."""
    sums = np.zeros((len(values), classes + 1))
    known = np.flatnonzero((image_class >= 0) & (image_class < classes))
    for row, total in zip(values, sums, strict=True):
        total[:classes] = np.bincount(image_class[known], weights=row[known], minlength=classes)
    sums[:, classes] = values.sum(axis=1)
    return sums
