"""What one validation image went through: stretches of equal answers, and a few words with numbers. No browser here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from deeptracker.app.wall.source import until_next
from deeptracker.data_model.families import MISSING_RESULT
from deeptracker.data_model.validation_results import ValidationResults

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Stretches of validations at which an image was taken for one class: [start, stop) in iterations, class number,
    whether that was right, and how many validations."""

    start: Ints
    stop: Ints
    predicted: Ints
    right: npt.NDArray[np.bool_]
    count: Ints


def answers(results: ValidationResults) -> Answers:
    """Return the stretches of equal answers of the first image in the results; validations without it end one.

    An image whose class was changed is right by the class of the time, so a stretch ends there too.
    """
    predicted, right = results.predicted[:, 0].astype(np.int64), results.right[:, 0]
    stop = until_next(results.iteration)
    if not len(predicted):
        nothing = np.empty(0, np.int64)
        return Answers(nothing, nothing, nothing, np.empty(0, np.bool_), nothing)
    changed = (np.diff(predicted) != 0) | (np.diff(right.astype(np.int8)) != 0)
    first = np.flatnonzero(np.concatenate([[True], changed]))
    last = np.append(first[1:], len(predicted)) - 1
    known = predicted[first] != MISSING_RESULT
    first, last = first[known], last[known]
    return Answers(results.iteration[first], stop[last], predicted[first], right[first], last - first + 1)


def class_name(number: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number where no image has it."""
    return names[number] if 0 <= number < len(names) else str(number)


def sentences(row: pd.Series, name: str, outliers: pd.DataFrame) -> list[str]:
    """Return what an image's row of `image_insight` says, and its left and right outliers, in short sentences."""
    if not int(row["validations"]):
        return ["Not validated so far."]
    told = [f"Class {name}."]
    if row["never_learned"]:
        told.append(f"Never right in {_times(int(row['validations']), 'validation')}.")
    else:
        share = f"{float(row['correctness']):.0%} of {_times(int(row['validations']), 'validation')}"
        told.append(f"Right at {share}, first at iteration {int(row['first_learned']):,}.")
    if int(row["forgotten"]):
        told.append(f"Forgotten {_times(int(row['forgotten']), 'time')}.")
    if row["taken_for"]:
        told.append(f"Most often taken for {row['taken_for']} ({float(row['taken_for_share']):.0%}).")
    told.append(f"Confidence {float(row['confidence']):.2f}, variability {float(row['variability']):.2f}.")
    left, right = ((outliers["rule"] == rule).sum() for rule in ("left_flip", "right_flip"))
    if left or right:
        told.append(f"Outlier: {left} left (after a stable stretch), {right} right (into one).")
    return told


def _times(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
