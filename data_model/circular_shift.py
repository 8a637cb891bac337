"""How well two series go together, against circular shifts of one of them in time.

Shifting a series in a circle keeps its own rhythm (bursts, quiet stretches) and breaks every link to the other, so the
sums of products over the shifts are what chance alone gives, and the true one is just one of them: the share of shifts
that reach it is a p-value, down to 1 / shifts. Only shifts by up to a quarter of the time are asked, either way: a
training begins wildly and ends quietly, and the true sum has early times with early ones, as near shifts have; against
far ones, early with late, two series that each have a course of their own seem to go together.

The variance over all T shifts has a closed form: for series of mean 0 it is T^-2 times the sum over frequencies k of
|X_k|^2 |Y_k|^2. So all pairs cost two FFTs and two matrix products, and only those that stand out the most are shifted
through; what the others' scores are worth is told from a few shifts of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from deeptracker.data_model.significance import pareto_tail, skewed_tail

Floats = npt.NDArray[np.float64]
Series = npt.NDArray[np.float32]
Spectra = npt.NDArray[np.complex64]
Mask = npt.NDArray[np.bool_]
Pairs = npt.NDArray[np.int64]

NEAR = 4
"""Shifts go up to this part of the time."""

MOST_SHIFTED = 8192
"""Pairs that are shifted through at most, those that stand out the most; it bounds the time."""

POOLED_SHIFTS = 6
"""Shifts of all pairs at once that tell what the scores of the others are worth."""

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

    p-values are the share of near shifts that reach the sum at shift 0; where none does, from a Pareto tail on that
    pair's own shifts, but never below 1 / shifts^2: so far a tail is believed. Of pairs beyond `MOST_SHIFTED` they are
    the share that all pairs together have, in some shifts, of scores as high, and no less than 1 / shifts. ValueError
    for other shapes.
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
    pairs = np.argwhere(possible)
    if len(pairs) > MOST_SHIFTED:
        rough = p_value[possible]
        p_value[possible] = np.maximum(_pooled(rough, possible, first, second, deviation, skewness), 1 / _near(length))
        chosen = np.argpartition(rough, MOST_SHIFTED)[:MOST_SHIFTED]
        pairs = pairs[chosen]
        p_value[tuple(pairs.T)] = rough[chosen]
    _shift_through(p_value, pairs, spectra, deviation, length)
    return ShiftTest(excess, p_value)


def _near(length: int) -> int:
    """Return how many shifts are near, with that by 0."""
    return 2 * (length // NEAR) + 1


def _pooled(rough: Floats, possible: Mask, x: Series, y: Series, deviation: Floats, skewness: Floats) -> Floats:
    """Return what share of all pairs has a rough p-value as small as each of these (pairs,), when shifted."""
    far = y.shape[1] // NEAR
    by = [sign * far * (step + 1) // (POOLED_SHIFTS // 2) for step in range(POOLED_SHIFTS // 2) for sign in (1, -1)]
    spread, skew = deviation[possible], skewness[possible]
    shifted = np.concatenate([skewed_tail((x @ np.roll(y, one, axis=1).T)[possible] / spread, skew) for one in by])
    shifted.sort()
    return np.asarray((1 + np.searchsorted(shifted, rough, side="right")) / (1 + len(shifted)))


def _shift_through(p_value: Floats, pairs: Pairs, spectra: tuple[Spectra, Spectra], deviation: Floats, n: int) -> None:
    """Put in the p-values of `pairs` (pairs, 2) from the near shifts of `n` times."""
    far, near = n // NEAR, _near(n)
    for begin in range(0, len(pairs), _BATCH):
        i, j = pairs[begin : begin + _BATCH].T
        every = fft.irfft(np.conj(spectra[0][i]) * spectra[1][j], n, axis=1)
        true, shifts = every[:, 0], np.concatenate([every[:, 1 : far + 1], every[:, n - far :]], axis=1)
        enough = (true - _TOLERANCE * deviation[i, j]).astype(np.float32)
        reached = 1 + np.count_nonzero(shifts >= enough[:, None], axis=1)
        found = reached / near
        alone = np.flatnonzero(reached == 1)
        if len(alone) and near > 1:
            tail = pareto_tail(shifts[alone].astype(np.float64), true[alone].astype(np.float64))
            least = np.maximum(p_value[i[alone], j[alone]], 1 / near**2)
            found[alone] = np.clip(tail, np.minimum(least, 1 / near), 1 / near)
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


def _skewness(series: Series) -> Floats:
    variance = np.einsum("rt,rt->r", series, series, dtype=np.float64) / series.shape[1]
    third = np.einsum("rt,rt,rt->r", series, series, series, dtype=np.float64) / series.shape[1]
    return np.asarray(np.divide(third, variance**1.5, out=np.zeros(len(series)), where=variance > 0))
