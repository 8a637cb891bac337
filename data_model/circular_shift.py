"""How often two series of counts coincide, against all circular shifts of one of them in time.

Shifting a series in a circle keeps its own rhythm (bursts, quiet stretches) and breaks every link to the
other, so the coincidences over all T shifts are what chance alone gives. Their mean and variance have a
closed form: with S(t) = sum over i of x[i] y[i - t], the mean over t is sum(x) sum(y) / T, and by Parseval
the variance is T^-2 times the sum over frequencies k != 0 of |X_k|^2 |Y_k|^2. So all pairs cost two FFTs and
two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coincidences:
    """Coincidences of every pair of series: float64 (rows of x, rows of y) each."""

    observed: Floats
    expected: Floats
    variance: Floats


def coincidences(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Coincidences:
    """Compare every row of `x` (n, time) with every row of `y` (m, time), against all circular shifts.

    `observed` is the sum of products at each time, `expected` and `variance` are its exact mean and
    population variance over all shifts.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"Two arrays (rows, time) over the same times are needed; given {first.shape} and {second.shape}."
        )
    length = first.shape[1]
    if length == 0:
        nothing = np.zeros((len(first), len(second)))
        return Coincidences(nothing, nothing.copy(), nothing.copy())
    expected = np.outer(first.sum(axis=1), second.sum(axis=1)) / length
    variance = (_power(first) * _multiplicity(length)) @ _power(second).T / length**2
    # Rounding leaves a trace of variance where a series is constant and every shift gives the same.
    variance[variance < 1e-12 * expected**2] = 0
    return Coincidences(first @ second.T, expected, variance)


def _power(series: Floats) -> Floats:
    transform = np.fft.rfft(series, axis=1)
    return np.asarray(transform.real**2 + transform.imag**2)


def _multiplicity(length: int) -> Floats:
    """How often each frequency of a real FFT stands for in the full one; the mean (frequency 0) is left
    out."""
    weight = np.full(length // 2 + 1, 2.0)
    weight[0] = 0
    if length % 2 == 0:
        weight[-1] = 1
    return weight
