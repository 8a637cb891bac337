"""How many images of each class flip at each validation, and where that is more than their past makes likely."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from deeptracker.data_model.image_events import flips
from deeptracker.data_model.validation_results import ValidationResults

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FIRST_DISPERSION, _FIRST_WEIGHT = 0.5, 20.0
"""What the dispersion is taken for before anything is known, and how many squared expected counts that weighs."""

_LEAST_DISPERSION = 0.02


@dataclass(frozen=True)
class FlipCounts:
    """Images of each class at each validation, int64 (validation, class): how many `flipped`, how many of these were
    `forgotten`, and how many could have flipped, having been validated before (`judged`).
    """

    iteration: Ints
    flipped: Ints
    forgotten: Ints
    judged: Ints

    def together(self) -> FlipCounts:
        """Return the same of all classes as one."""
        sums = (part.sum(axis=1, keepdims=True) for part in (self.flipped, self.forgotten, self.judged))
        return FlipCounts(self.iteration, *sums)


def flip_counts(portions: Iterable[tuple[Ints, ValidationResults]], classes: int) -> FlipCounts:
    """Count over portions of images, each with its results at all validations."""
    counted: FlipCounts | None = None
    for _, results in portions:
        validations = len(results.iteration)
        if counted is None:
            nothing = [np.zeros((validations, classes), np.int64) for _ in range(3)]
            counted = FlipCounts(results.iteration, *nothing)
        found = flips(results.correct)
        row = results.image_class[found.image]
        for counts, which in ((counted.flipped, slice(None)), (counted.forgotten, ~found.learned)):
            place = found.validation[which] * classes + row[which]
            counts += np.bincount(place, minlength=counts.size).reshape(counts.shape)
        before = np.zeros_like(results.seen)
        before[1:] = np.logical_or.accumulate(results.seen, axis=0)[:-1]
        here, member = np.unique(results.image_class, return_inverse=True)
        counted.judged[:, here] += _per_class(results.seen & before, member, len(here))
    nothing = [np.zeros((0, classes), np.int64) for _ in range(3)]
    return counted or FlipCounts(np.zeros(0, np.int64), *nothing)


def _per_class(marked: npt.NDArray[np.bool_], member: Ints, classes: int) -> Ints:
    one_hot = np.zeros((len(member), classes), np.float32)
    one_hot[np.arange(len(member)), member] = 1
    return (marked.astype(np.float32) @ one_hot).astype(np.int64)


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
