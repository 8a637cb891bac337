"""The series of blocks that rules watch in every layer, made of its recorded statistics.

Each is on a scale on which equal changes are equally unusual at all times: logarithms of sizes, or ratios to the spread
of the same tensor; of weights, which drift for good, the increments from block to block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.record_blocks import Blocks

Floats = npt.NDArray[np.float64]
Read = Mapping[str, Blocks]

SMALLEST = 1e-12
A_FIFTH = 0.04
"""Least spread of a size, in its logarithm: with limits from about 4.6 on, a fifth more or less is nothing."""
LEARNING_RATE = "learning_rate"
"""Stands for the blocks of the learning rate, (blocks, 1), among the statistics that a series is made of."""


@dataclass(frozen=True)
class Series:
    """One series of every layer: the statistics it is made of, the function that makes it, and how it is spoken of.

    `increments` says that the changes from block to block are watched, `slow` that its average over four blocks is
    watched too, `floor` is its least spread.
    """

    name: str
    words: str
    needs: tuple[str, ...]
    derive: Callable[[Read], Floats]
    floor: float
    increments: bool = False
    slow: bool = False
    logarithmic: bool = True


def log(values: Floats) -> Floats:
    """Return the natural logarithm, of at least `SMALLEST`."""
    return np.log(np.maximum(values, SMALLEST))


def middle_mean(values: Floats) -> Floats:
    """Return the mean of the middle half of the entities, (blocks, 1): what they have in common.

    Unlike the median it leaves no entity with a residual that is exactly 0, whose spread would be 0 too.
    """
    known = np.isfinite(values)
    if known.all():
        cut = values.shape[1] // 4
        return np.asarray(np.sort(values, axis=1)[:, cut : values.shape[1] - cut].mean(axis=1, keepdims=True))
    count = known.sum(axis=1, keepdims=True)
    rank = np.arange(values.shape[1])
    inside = (rank >= count // 4) & (rank < count - count // 4)
    total = np.where(inside, np.sort(values, axis=1), 0).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / inside.sum(axis=1, keepdims=True))


def _ratio(over: Floats, under: Floats) -> Floats:
    return over / (under + SMALLEST)


def _peak(high: Floats, low: Floats, spread: Floats) -> Floats:
    return log(_ratio(np.maximum(high, -low), spread))


def _three(name: str, words: str, needs: tuple[str, ...], derive: Callable[[Read, str], Floats]) -> list[Series]:
    said = {"mean": words, "max": f"largest {words} of an iteration", "min": f"smallest {words} of an iteration"}

    def one(part: str) -> Series:
        return Series(
            f"{name}.{part}", said[part], needs, lambda read: derive(read, part), A_FIFTH, slow=part == "mean"
        )

    return [one(part) for part in said]


GRADIENT = [
    *_three("gradient", "gradient", ("gradient_l2",), lambda read, part: log(getattr(read["gradient_l2"], part))),
    Series(
        "gradient_peak.mean",
        "largest gradient against their spread",
        ("gradient_max", "gradient_min", "gradient_std"),
        lambda read: _peak(read["gradient_max"].mean, read["gradient_min"].mean, read["gradient_std"].mean),
        0.02,
        slow=True,
    ),
    Series(
        "gradient_peak.max",
        "largest gradient of an iteration against their spread",
        ("gradient_max", "gradient_min", "gradient_std"),
        lambda read: _peak(read["gradient_max"].max, read["gradient_min"].min, read["gradient_std"].mean),
        0.02,
    ),
    Series(
        "gradient_evenness",
        "evenness of the gradient (L1 over L2)",
        ("gradient_l1", "gradient_l2"),
        lambda read: log(_ratio(read["gradient_l1"].mean, read["gradient_l2"].mean)),
        0.02,
        slow=True,
    ),
]
UPDATE = _three(
    "update",
    "change relative to the weights and the learning rate",
    ("relative_change_l2", LEARNING_RATE),
    lambda read, part: log(_ratio(getattr(read["relative_change_l2"], part), read[LEARNING_RATE].mean)),
)
WEIGHT = [
    Series(
        "weight_norm",
        "growth of the weights' norm",
        ("weight_l2",),
        lambda read: log(read["weight_l2"].mean),
        2e-5,
        increments=True,
    ),
    Series(
        "weight_mean",
        "drift of the weights' mean",
        ("weight_mean", "weight_std"),
        lambda read: _ratio(read["weight_mean"].mean, read["weight_std"].mean),
        1e-4,
        increments=True,
        logarithmic=False,
    ),
    Series(
        "weight_range",
        "drift of the weights' range against their spread",
        ("weight_max", "weight_min", "weight_std"),
        lambda read: _ratio(read["weight_max"].mean - read["weight_min"].mean, read["weight_std"].mean),
        1e-4,
        increments=True,
        logarithmic=False,
    ),
    Series(
        "weight_median",
        "drift of the weights' median against their spread",
        ("weight_median", "weight_std"),
        lambda read: _ratio(read["weight_median"].mean, read["weight_std"].mean),
        1e-4,
        increments=True,
        logarithmic=False,
    ),
]
