"""What happened to each image from validation to validation: learned, forgotten, flipped, mapped.

All functions take `correct`, an int8 array (validation, image): 1 right, 0 wrong, -1 where the image was not
validated. Validations at which an image is missing are skipped for that image: it keeps the answer it had
before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.vocabulary import EVENTS

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]

MISSING = -1
LEARNED, FORGOTTEN, STAYED_RIGHT, STAYED_WRONG = (EVENTS.index(name) for name in ("n-y", "y-n", "y-y", "n-n"))


def events(correct: Codes) -> Codes:
    """Return the event of each image at each validation as an index into `EVENTS`, -1 where there is none.

    An event compares a validation with the image's previous one, so an image's first validation has none.
    """
    codes = np.full(correct.shape, MISSING, np.int8)
    table = np.empty((2, 2), np.int8)
    table[0, 1], table[1, 0], table[1, 1], table[0, 0] = LEARNED, FORGOTTEN, STAYED_RIGHT, STAYED_WRONG
    last = np.full(correct.shape[1], MISSING, np.int8)
    for row, now in enumerate(correct):
        known = (now >= 0) & (last >= 0)
        codes[row, known] = table[last[known], now[known]]
        last = np.where(now >= 0, now, last)
    return codes


def event_counts(correct: Codes) -> Ints:
    """Count the events of each validation: int64 (validation, event) in the order of `EVENTS`."""
    codes = events(correct)
    return np.stack([(codes == code).sum(axis=1, dtype=np.int64) for code in range(len(EVENTS))], axis=1)


@dataclass(frozen=True)
class Flips:
    """Every change of answer, in the order of time and image; all arrays have one entry per flip.

    `validation` and `image` say where, `learned` is True for n-y and False for y-n, `before` and `after`
    count the validations with the same answer right before the flip and from the flip on (int64).
    """

    validation: Ints
    image: Ints
    learned: npt.NDArray[np.bool_]
    before: Ints
    after: Ints

    def left(self, stable: int) -> npt.NDArray[np.bool_]:
        """Mark the flips that end at least `stable` equal answers (the paper's left rule)."""
        return self.before >= stable

    def right(self, stable: int) -> npt.NDArray[np.bool_]:
        """Mark the flips that begin at least `stable` equal answers (the paper's right rule)."""
        return self.after >= stable


def flips(correct: Codes) -> Flips:
    """Find every flip and how stable the answer was before and after it."""
    validations = len(correct)
    history = np.ascontiguousarray(correct.T).ravel()
    cell = np.flatnonzero(history >= 0)
    answer, image = history[cell], cell // max(validations, 1)
    other = image[1:] != image[:-1]
    begins = np.flatnonzero(np.concatenate([np.ones(min(len(cell), 1), bool), other | (answer[1:] != answer[:-1])]))
    length = np.diff(np.append(begins, len(cell)))
    # A stretch of equal answers that follows another one of the same image begins with a flip.
    flip = np.flatnonzero(image[begins[1:]] == image[begins[:-1]]) + 1
    at = begins[flip]
    validation = cell[at] - image[at] * validations
    # Images are in order already; of short integers a stable sort is a radix sort.
    order = np.argsort(validation.astype(np.min_scalar_type(validations)), kind="stable")
    flip, at = flip[order], at[order]
    return Flips(validation[order], image[at], answer[at] == 1, length[flip - 1], length[flip])


def first_learned(correct: Codes) -> Ints:
    """Return the validation at which each image was right for the first time, -1 where it never was."""
    right = correct == 1
    return np.where(right.any(axis=0), right.argmax(axis=0) if len(right) else 0, -1).astype(np.int64)


def never_learned(correct: Codes) -> npt.NDArray[np.bool_]:
    """Mark the images that were validated and never right."""
    validated = (correct >= 0).any(axis=0)
    return np.asarray(validated & ~(correct == 1).any(axis=0))


def forgetting_counts(correct: Codes) -> Ints:
    """Count how often each image went from right to wrong (Toneva et al. 2019, here on validation data)."""
    return np.asarray((events(correct) == FORGOTTEN).sum(axis=0, dtype=np.int64))


@dataclass(frozen=True)
class DataMap:
    """Each image's place on the data map (Swayamdipta et al. 2020), float64 (image,), NaN where never
    validated.

    `confidence` is the mean probability of the true class, `variability` its population standard deviation,
    `correctness` the share of validations at which the image was right.
    """

    confidence: Floats
    variability: Floats
    correctness: Floats


def data_map(probability: npt.NDArray[Any], correct: Codes) -> DataMap:
    """Place the images on the data map from probabilities of the true class (validation, image) and
    `correct`."""
    usable = (correct >= 0) & np.isfinite(probability)
    values = np.where(usable, probability, 0).astype(np.float64)
    mean = _share(values.sum(axis=0), usable.sum(axis=0))
    spread = np.where(usable, (values - np.where(np.isnan(mean), 0, mean)) ** 2, 0)
    return DataMap(
        confidence=mean,
        variability=np.sqrt(_share(spread.sum(axis=0), usable.sum(axis=0))),
        correctness=_share((correct == 1).sum(axis=0), (correct >= 0).sum(axis=0)),
    )


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    share: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share
