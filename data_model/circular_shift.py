"""How well two series go together, against all circular shifts of one of them in time.

Shifting a series in a circle keeps its own rhythm (bursts, quiet stretches) and breaks every link to the other, so the
sums of products over all T shifts are what chance alone gives, and the true one is just one of them: the share of
shifts that reach it is an exact p-value, down to 1 / T. Their variance has a closed form: for series of mean 0 it is
T^-2 times the sum over frequencies k of |X_k|^2 |Y_k|^2. So all pairs cost two FFTs and two matrix products, and only
the few pairs that stand out are shifted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from deeptracker.data_model.significance import pareto_tail, skewed_tail

Floats = npt.NDArray[np.float64]
Spectra = npt.NDArray[np.complex64]

SHORTLIST = 0.02
"""Pairs with an approximate p-value below this are shifted through; above it the approximation is good to 10 %."""

MOST_SHIFTED = 8192
"""Pairs that are shifted through at most, those with the least approximate p-values; it bounds the time."""

_BATCH = 128
_TOLERANCE = 1e-4
"""Of a standard deviation: sums that differ by less are the same but for rounding (float32)."""


@dataclass(frozen=True)
class ShiftTest:
    """Every pair of series, float64 (rows of x, rows of y): `excess` in standard deviations over all shifts, 0 where
    every shift gives the same, and `p_value`, NaN there.
    """

    excess: Floats
    p_value: Floats


def shift_test(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> ShiftTest:
    """Compare every row of `x` (n, time) with every row of `y` (m, time); both float32 with a mean of 0 over time.

    p-values are the share of shifts that reach the sum at shift 0, below 1 / T from a Pareto tail on that pair's own
    shifts, and for pairs that do not stand out from a gamma distribution with the skewness of independent products.
    Of pairs that stand out beyond `MOST_SHIFTED` they are no less than 1 / T. ValueError for other shapes.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"Two arrays (rows, time) over the same times are needed; given {x.shape} and {y.shape}.")
    length = x.shape[1]
    if length == 0 or not len(x) or not len(y):
        nothing = np.zeros((len(x), len(y)))
        return ShiftTest(nothing, np.full(nothing.shape, np.nan))
    first, second = np.asarray(x, np.float32), np.asarray(y, np.float32)
    spectra = fft.rfft(first, axis=1), fft.rfft(second, axis=1)
    deviation = np.sqrt((_power(spectra[0]) * _multiplicity(length)) @ _power(spectra[1]).T).astype(np.float64) / length
    product = (first @ second.T).astype(np.float64)
    # Rounding leaves a trace of variance where a series is constant and every shift gives the same.
    possible = deviation > 1e-6 * np.sqrt(np.outer((first**2).sum(axis=1), (second**2).sum(axis=1)))
    excess = np.divide(product, deviation, out=np.zeros_like(product), where=possible)
    skewness = np.outer(_skewness(first), _skewness(second)) / np.sqrt(length)
    p_value = np.where(possible, skewed_tail(excess, skewness), np.nan)
    _shift_through(p_value, spectra, deviation, length)
    return ShiftTest(excess, p_value)


def _shift_through(p_value: Floats, spectra: tuple[Spectra, Spectra], deviation: Floats, length: int) -> None:
    """Replace the small p-values by those from all shifts."""
    chosen = np.argwhere(p_value < SHORTLIST)
    if len(chosen) > MOST_SHIFTED:
        order = np.argpartition(p_value[tuple(chosen.T)], MOST_SHIFTED)
        left = tuple(chosen[order[MOST_SHIFTED:]].T)
        p_value[left] = np.maximum(p_value[left], 1 / length)
        chosen = chosen[order[:MOST_SHIFTED]]
    for begin in range(0, len(chosen), _BATCH):
        i, j = chosen[begin : begin + _BATCH].T
        shifts = fft.irfft(np.conj(spectra[0][i]) * spectra[1][j], length, axis=1)
        enough = shifts[:, 0] - _TOLERANCE * deviation[i, j]
        reached = np.count_nonzero(shifts >= enough[:, None].astype(np.float32), axis=1)
        found = reached / length
        alone = np.flatnonzero(reached == 1)
        if len(alone):
            tail = pareto_tail(shifts[alone, 1:].astype(np.float64), shifts[alone, 0].astype(np.float64))
            found[alone] = np.minimum(tail, 1 / length)
        p_value[i, j] = found


def _power(spectrum: Spectra) -> npt.NDArray[np.float32]:
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


def _multiplicity(length: int) -> npt.NDArray[np.float32]:
    """How often each frequency of a real FFT stands for in the full one; the mean (frequency 0) is left out."""
    weight = np.full(length // 2 + 1, 2, np.float32)
    weight[0] = 0
    if length % 2 == 0:
        weight[-1] = 1
    return weight


def _skewness(series: npt.NDArray[np.float32]) -> Floats:
    variance = np.einsum("rt,rt->r", series, series, dtype=np.float64) / series.shape[1]
    third = np.einsum("rt,rt,rt->r", series, series, series, dtype=np.float64) / series.shape[1]
    return np.asarray(np.divide(third, variance**1.5, out=np.zeros(len(series)), where=variance > 0))
