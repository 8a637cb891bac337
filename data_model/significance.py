"""From how far something stands out to a p-value, corrected for the number of pairs looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

Floats = npt.NDArray[np.float64]

TAIL_SHARE, LEAST_TAIL = 0.05, 20
"""The share of values that make up a tail, and the fewest (of at most a quarter of all)."""


def skewed_tail(excess: npt.NDArray[Any], skewness: npt.NDArray[Any]) -> Floats:
    """Return the probability of `excess` standard deviations or more above the mean: Pearson's type III, a gamma
    distribution moved to mean 0 and variance 1.

    A skewness below 0.001 (also a negative one) counts as that: practically the normal distribution.
    """
    shape = 4 / np.maximum(skewness, 1e-3) ** 2
    return np.asarray(gammaincc(shape, np.maximum(shape + excess * np.sqrt(shape), 0)), np.float64)


def pareto_tail(values: Floats, at: Floats) -> Floats:
    """Return the probability of `at` (n,) or more by a generalised Pareto tail on the highest of `values` (n, count).

    Fitted by probability-weighted moments (Hosking and Wallis 1987). The shape is never taken below 0, an exponential
    tail: a fitted end of the distribution would make everything beyond it impossible. Below the tail the answer is
    its share of the values.
    """
    count = values.shape[1]
    size = max(1, min(max(LEAST_TAIL, round(TAIL_SHARE * count)), count // 4))
    highest = np.sort(np.partition(values, count - size - 1, axis=1)[:, count - size - 1 :], axis=1)
    threshold, above = highest[:, 0], highest[:, 1:] - highest[:, :1]
    mean = above.mean(axis=1)
    weighted = (above * (size - np.arange(1, size + 1) + 0.35) / size).mean(axis=1)
    gap = np.maximum(mean - 2 * weighted, 1e-12)
    shape, scale = np.maximum(2 - mean / gap, 0), np.maximum(2 * mean * weighted / gap, 1e-12)
    # Where the shape was raised to 0, the exponential with the same mean is the fit.
    scale = np.where(shape > 0, scale, np.maximum(mean, 1e-12))
    distance = np.maximum(at - threshold, 0) / scale
    heavy = shape > 1e-6
    power = -np.divide(1, shape, out=np.ones_like(shape), where=heavy) * np.log1p(shape * distance)
    return np.asarray(size / count * np.exp(np.where(heavy, power, -distance)), np.float64)


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
