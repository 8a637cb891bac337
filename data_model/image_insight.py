"""What the whole history of each validation image says about it: one row per image, and the images worth a look.

Everything is read in portions of images, so that memory stays bounded however many validations there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from deeptracker.data_model.image_events import Flips, data_map, first_learned, flips
from deeptracker.data_model.validation_results import ValidationResults

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Portions = Iterable[tuple[Ints, ValidationResults]]

COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("str", "the image's id"),
    "class": ("str", "its class"),
    "validations": ("int64", "how often it was validated"),
    "first_learned": ("Int64", "iteration of the validation at which it was right for the first time"),
    "never_learned": ("bool", "validated, and never right"),
    "unforgettable": ("bool", "right at some time, and never forgotten (Toneva et al. 2019, here on validation data)"),
    "learned": ("int64", "how often it went from wrong to right"),
    "forgotten": ("int64", "how often it went from right to wrong (Toneva et al. 2019, here on validation data)"),
    "left": ("int64", "flips after k equal answers (Liu et al. 2018)"),
    "right": ("int64", "flips that began k equal answers (Liu et al. 2018)"),
    "right_at_last": ("boolean", "whether it was right when it was last validated"),
    "confidence": ("float64", "mean probability of the true class (Swayamdipta et al. 2020)"),
    "variability": ("float64", "population standard deviation of the same"),
    "correctness": ("float64", "share of its validations at which it was right"),
    "closeness": ("float64", "threshold closeness, confidence * (1 - confidence)"),
    "taken_for": ("str", "the class it was most often taken for instead, if any"),
    "taken_for_share": ("float64", "share of its validations at which it was taken for that class"),
    "taken_for_bound": ("float64", "mean of 1 - p(true class) there: that class's probability was at most this"),
    "mislabelled_as": ("str", "the other class with the most evidence in the later half of the validations"),
    "mislabelled": ("float64", "that evidence: mean of 1 - p(true class), 0 where it was not taken for that class"),
}
"""The columns of the table: their dtype, and what they mean. The index is the image's number."""

_BINS = 1 << 22
"""So many counters of (image, class) are held at once."""


class Ranking(StrEnum):
    """Which images to look at first."""

    NEVER_LEARNED = "never_learned"
    MISLABELLED = "mislabelled"
    FORGOTTEN = "forgotten"


def image_insight(portions: Portions, class_names: Sequence[str], stable: int) -> pd.DataFrame:
    """Return the table of `COLUMNS` over all portions of images (numbers, results at all validations).

    `stable` is the k of the left and right rules. Of an image that got another class, what was right before stays
    judged by the class of its time. Which other class was how probable is not recorded, only which came first and
    p(true): so the evidence for another class is how constantly it came first while p(true) was low.
    """
    parts = [_portion(numbers, results, np.array(class_names, object), stable) for numbers, results in portions]
    parts = [part for part in parts if len(part)] or [pd.DataFrame({name: [] for name in COLUMNS})]
    table = pd.concat(parts).astype({name: dtype for name, (dtype, _) in COLUMNS.items()})
    table.index = table.index.astype("int64")
    table.index.name = "image"
    table.attrs["stable"] = stable
    return table


def ranked(table: pd.DataFrame, by: Ranking | str, most: int | None = None) -> pd.DataFrame:
    """Return the rows worth a look, the clearest first, at most `most` of them.

    `never_learned`: those never right, the least probable true class first. `mislabelled`: those that were taken for
    one other class in the later half of the validations, by the evidence for it (see `COLUMNS`). `forgotten`: those
    forgotten most often, of equals the most variable first. Raises ValueError for another name.
    """
    ranking = Ranking(by)
    if ranking is Ranking.NEVER_LEARNED:
        found = table[table["never_learned"]].sort_values(["confidence", "validations"], ascending=[True, False])
    elif ranking is Ranking.MISLABELLED:
        found = table[table["mislabelled"] > 0].sort_values("mislabelled", ascending=False, kind="stable")
    else:
        found = table[table["forgotten"] > 0].sort_values(["forgotten", "variability"], ascending=False)
    return found.head(most) if most is not None else found


def _portion(numbers: Ints, results: ValidationResults, names: npt.NDArray[Any], stable: int) -> pd.DataFrame:
    correct, seen = results.correct, results.seen
    images = len(numbers)
    found = flips(correct)
    place = data_map(results.probability, correct)
    validated, right = seen.sum(axis=0), (correct == 1).sum(axis=0)
    forgotten = _count(found, ~found.learned, images)
    doubt = np.where(np.isfinite(results.probability), 1 - results.probability, 1).astype(np.float64)
    wrong = seen & (correct == 0)
    instead, times, bound = taken_for(results.predicted, wrong, doubt, by_evidence=False)
    late = slice(len(correct) // 2, None)
    suspect, _, evidence = taken_for(results.predicted[late], wrong[late], doubt[late], by_evidence=True)
    return pd.DataFrame(
        {
            "id": results.image,
            "class": _named(results.image_class, names),
            "validations": validated,
            "first_learned": _iterations(first_learned(correct), results.iteration),
            "never_learned": (validated > 0) & (right == 0),
            "unforgettable": (right > 0) & (forgotten == 0),
            "learned": _count(found, found.learned, images),
            "forgotten": forgotten,
            "left": _count(found, found.left(stable), images),
            "right": _count(found, found.right(stable), images),
            "right_at_last": _last(correct),
            "confidence": place.confidence,
            "variability": place.variability,
            "correctness": place.correctness,
            "closeness": place.confidence * (1 - place.confidence),
            "taken_for": _named(instead, names),
            "taken_for_share": _share(times, validated),
            "taken_for_bound": _share(bound, times),
            "mislabelled_as": _named(suspect, names),
            "mislabelled": _share(evidence, seen[late].sum(axis=0)),
        },
        index=pd.Index(numbers, dtype="int64"),
    )


def taken_for(
    predicted: npt.NDArray[np.int32], wrong: npt.NDArray[np.bool_], doubt: Floats, *, by_evidence: bool
) -> tuple[Ints, Ints, Floats]:
    """Return the class each image was most taken for where `wrong`, how often, and the sum of `doubt` there.

    All arguments are (validation, image). `by_evidence` takes the class with the largest sum of doubt instead of the
    one that came most often; of equals the first. The class is -1 for an image that never was wrong.
    """
    images = predicted.shape[1]
    best, times, sums = np.full(images, -1, np.int64), np.zeros(images, np.int64), np.zeros(images)
    classes = int(predicted.max(initial=-1)) + 1
    width = max(1, _BINS // max(1, classes))
    for first in range(0, images if classes else 0, width):
        part = slice(first, min(first + width, images))
        row, column = np.nonzero(wrong[:, part])
        key = column * classes + predicted[:, part][row, column]
        shape, size = (part.stop - first, classes), (part.stop - first) * classes
        counts = np.bincount(key, minlength=size).reshape(shape)
        evidence = np.bincount(key, weights=doubt[:, part][row, column], minlength=size).reshape(shape)
        chosen = (evidence if by_evidence else counts).argmax(axis=1)
        each = np.arange(shape[0])
        times[part], sums[part] = counts[each, chosen], evidence[each, chosen]
        best[part][counts[each, chosen] > 0] = chosen[counts[each, chosen] > 0]
    return best, times, sums


def _named(number: npt.NDArray[Any], names: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Name classes; nothing for -1, and the number itself for one that a model knows and no image has."""
    beyond = np.arange(len(names), max(len(names), int(number.max(initial=-1)) + 1))
    known = np.concatenate([names, beyond.astype(str).astype(object), np.array([""], object)])
    named: npt.NDArray[Any] = known[number]
    return named


def _count(found: Flips, which: npt.NDArray[np.bool_], images: int) -> Ints:
    return np.bincount(found.image[which], minlength=images)


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    share: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def _iterations(validation: Ints, iteration: Ints) -> Any:
    known = validation >= 0
    values = np.zeros(len(validation), np.int64)
    values[known] = iteration[validation[known]]
    return pd.arrays.IntegerArray(values, ~known)


def _last(correct: npt.NDArray[np.int8]) -> Any:
    seen = correct >= 0
    known = np.asarray(seen.any(axis=0))
    if not len(correct):
        return pd.arrays.BooleanArray(np.zeros(correct.shape[1], bool), ~known)
    last = len(correct) - 1 - seen[::-1].argmax(axis=0)
    return pd.arrays.BooleanArray(correct[last, np.arange(correct.shape[1])] == 1, ~known)
