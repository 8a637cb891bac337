"""How many images of each class flip at each validation, and where that is more than their past makes likely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from deeptracker.data_model.validation_results import ValidationResults

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FIRST_DISPERSION, _FIRST_WEIGHT = 0.5, 20.0
"""What the dispersion is taken for before anything is known, and how many squared expected counts that weighs."""

_LEAST_DISPERSION = 0.02


@dataclass(frozen=True)
class FlipCounts:
    """Images of each class at each validation, int32 (validation, class): how many `flipped`, how many of these were
    `forgotten`, and how many could have flipped, having been validated before (`judged`).

    `last` (image,) int8 is the answer that each image had last (1 right, 0 wrong, -1 none yet): what comes next is
    compared with it.
    """

    iteration: Ints
    flipped: npt.NDArray[np.int32]
    forgotten: npt.NDArray[np.int32]
    judged: npt.NDArray[np.int32]
    last: npt.NDArray[np.int8]

    @classmethod
    def none(cls, images: int, classes: int) -> FlipCounts:
        """Return the counts before the first validation."""
        nothing = np.zeros((0, classes), np.int32)
        return cls(np.zeros(0, np.int64), nothing, nothing, nothing, np.full(images, -1, np.int8))

    def extended(self, results: ValidationResults) -> FlipCounts:
        """Return the counts with the validations of all images that come next; what is counted is not looked at."""
        classes, known = self.flipped.shape[1], self.last
        rows = np.zeros((3, len(results.iteration), classes), np.int32)
        for validation, now in enumerate(results.correct):
            judged = (now >= 0) & (known >= 0)
            flipped = judged & (now != known)
            for counts, which in zip(rows, (flipped, flipped & (now == 0), judged), strict=True):
                counts[validation] = np.bincount(results.image_class[which], minlength=classes)
            known = np.where(now >= 0, now, known)
        return FlipCounts(
            np.concatenate([self.iteration, results.iteration]),
            np.concatenate([self.flipped, rows[0]]),
            np.concatenate([self.forgotten, rows[1]]),
            np.concatenate([self.judged, rows[2]]),
            known,
        )

    def together(self) -> FlipCounts:
        """Return the same of all classes as one."""
        flipped, forgotten, judged = (
            part.sum(axis=1, keepdims=True, dtype=np.int32) for part in (self.flipped, self.forgotten, self.judged)
        )
        return FlipCounts(self.iteration, flipped, forgotten, judged, self.last)


@dataclass(frozen=True)
class Surprise:
    """Of each count the number that was `expected` and the probability of as many or more, float64
    (validation, class); NaN and 1 where too little is known.
    """

    expected: Floats
    p_value: Floats


def surprise(counts: FlipCounts, past: int, fewest: int, risk: float) -> Surprise:
    """Judge each validation by the `past` validations before it, once there are `fewest`.

    Expected is the class's own share in the past, times what the other classes do right now where that is more than
    usual: what shakes all classes is no surprise in any of them. Images flip together, so counts follow a negative
    binomial distribution, whose dispersion is estimated from all that came before, without what was below `risk`.
    """
    expected, p_value = np.full(counts.flipped.shape, np.nan), np.ones(counts.flipped.shape)
    excess, weight = _FIRST_DISPERSION * _FIRST_WEIGHT, _FIRST_WEIGHT
    for now in range(max(fewest, 1), len(expected)):
        window = slice(max(now - past, 0), now)
        flipped, judged = counts.flipped[window].sum(axis=0), counts.judged[window].sum(axis=0)
        if not judged.any():
            continue
        usual = flipped.sum() / judged.sum()
        # One validation's worth of the usual share keeps a class that never flipped from being certain of it.
        ahead = usual * judged / (window.stop - window.start)
        share = np.divide(flipped + ahead, judged * (1 + 1 / (window.stop - window.start)),
                          out=np.full(len(judged), usual), where=judged > 0)  # fmt: skip
        own, observed = share * counts.judged[now], counts.flipped[now]
        others = np.maximum((observed.sum() - observed + 1) / (own.sum() - own + 1), 1)
        mean = own * others
        dispersion = max(excess / weight, _LEAST_DISPERSION)
        # A rate known from so many flips is itself uncertain: Poisson counts of a gamma rate.
        uncertain = dispersion * (1 + 1 / (window.stop - window.start)) + 1 / np.maximum(flipped + ahead, 0.5)
        expected[now] = mean
        above = (observed > mean) & (mean > 0)
        p_value[now, above] = upper_tail(observed[above], mean[above], uncertain[above])
        kept = p_value[now] >= risk
        excess += float(((observed - mean) ** 2 - mean - mean**2 / np.maximum(flipped + ahead, 0.5))[kept].sum())
        weight += float((mean[kept] ** 2).sum())
    return Surprise(expected, p_value)


def upper_tail(count: npt.NDArray[np.int64], mean: Floats, dispersion: Floats) -> Floats:
    """Return the probability of `count` (above 0) or more: negative binomial, variance mean + dispersion * mean^2."""
    spread = dispersion * mean
    return np.asarray(betainc(count, 1 / dispersion, spread / (1 + spread)), np.float64)
