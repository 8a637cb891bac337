"""Error, loss and probability of each class at a validation, and the class that an image had at that time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import recorded

_SMALLEST_PROBABILITY = 1e-12


def class_means(
    seen: NDArray[np.bool_],
    right: NDArray[np.bool_],
    probability: NDArray[np.float32],
    image_class: NDArray[np.integer[Any]],
    classes: int,
) -> NDArray[np.float32]:
    """Return error, loss and mean probability of the true class at one validation, (3, 1 + class) float32.

    The first column is over all images. The error is a share of 0 to 1, the loss the mean of -log(probability) in
    nats. Plain NaN (missing) where a class had no image; a NaN that comes from a probability is a recorded one.
    `seen`, `right`, `probability` and `image_class` are (image,).
    """
    known = image_class[seen]
    chance = probability[seen].astype(np.float64)
    wrong = ~right[seen]
    inside = (known >= 0) & (known < classes)
    values = (wrong.astype(np.float64), -np.log(np.maximum(chance, _SMALLEST_PROBABILITY)), chance)
    count = np.concatenate([[len(known)], np.bincount(known[inside], minlength=classes)])
    means = np.full((len(values), 1 + classes), np.nan, np.float32)
    for mean, value in zip(means, values, strict=True):
        sums = np.concatenate([[value.sum()], np.bincount(known[inside], value[inside], classes)])
        mean[count > 0] = recorded((sums[count > 0] / count[count > 0]).astype(np.float32))
    return means
