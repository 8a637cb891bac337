"""From an excess of coincidences to a p-value, corrected for the number of pairs looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

Floats = npt.NDArray[np.float64]


def gamma_tail(observed: npt.NDArray[Any], expected: npt.NDArray[Any], variance: npt.NDArray[Any]) -> Floats:
    """Return the probability of `observed` or more, by a gamma distribution of the given mean and variance.

    A gamma fits sums of products of counts (never negative, skewed) far better than a normal, whose tail is
    up to 15 times too thin here. Counts are whole, so half a count is taken off. Where the variance is 0
    every shift gives the same sum and the answer is 1.

    Where it is still off, on synthetic series without any link: strongly bursty ones gave p below 1e-3 two to three
    times, and below 1e-4 three to eight times as often as they should; sparse independent ones a third as often.
    """
    possible = (variance > 0) & (expected > 0)
    shape = np.divide(expected**2, variance, out=np.ones_like(expected, np.float64), where=possible)
    scale = np.divide(variance, expected, out=np.ones_like(expected, np.float64), where=possible)
    tail = gammaincc(shape, np.maximum(observed - 0.5, 0) / scale)
    return np.where(possible, tail, 1.0)


def benjamini_hochberg(p_values: npt.NDArray[Any]) -> Floats:
    """Correct p-values of any shape for their number, so that calling all below q significant errs in a share
    q.

    Source: Benjamini and Hochberg 1995, as adjusted p-values: the smallest rate at which a pair would be
    called.
    """
    flat = np.asarray(p_values, np.float64).ravel()
    order = np.argsort(flat)[::-1]
    ranks = np.arange(len(flat), 0, -1)
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum.accumulate(np.minimum(flat[order] * len(flat) / ranks, 1.0))
    return adjusted.reshape(np.shape(p_values))
