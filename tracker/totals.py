"""What the kernel measures of a layer or filter, and how statistics read it.

The kernel fills one row of float64 per layer or filter; `Totals` gives its columns their names. The quartiles and the
interval exist for layers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

# Columns of the spread of one tensor: of the weight from column 0, of the gradient from GRADIENT on.
FINITE, NONFINITE, NONZERO, MEAN, SQUARES, L1, MINIMUM, MAXIMUM = range(8)
GRADIENT = 8
# Columns of the change of the weight; the shares above 1, 0.1 ... 1e-6 follow ABOVE.
PAIRS, CHANGE_L1, CHANGE_SQUARES, BEFORE_L1, BEFORE_SQUARES, ABOVE = range(16, 22)
THRESHOLDS = 7
FILTER_COLUMNS = ABOVE + THRESHOLDS
WEIGHT_QUARTILES = FILTER_COLUMNS
GRADIENT_QUARTILES = WEIGHT_QUARTILES + 3
INTERVAL = GRADIENT_QUARTILES + 3
LAYER_COLUMNS = INTERVAL + 1


@dataclass(frozen=True)
class Spread:
    """The values of one tensor, summed up: every field float64, one value per layer or filter (and record)."""

    finite: Float64
    nonfinite: Float64
    nonzero: Float64
    mean: Float64
    squares: Float64
    """Sum of squared deviations from the mean."""
    l1: Float64
    minimum: Float64
    maximum: Float64
    quartiles: Float64

    @property
    def std(self) -> Float64:
        """Population standard deviation."""
        return np.sqrt(self.squares / self.finite)

    @property
    def l2(self) -> Float64:
        """Euclidean norm, from the squared deviations and the mean: the same sum without a second pass."""
        return np.sqrt(self.squares + self.finite * self.mean**2)

    def known(self, values: Float64) -> Float64:
        """Return the values, and NaN where not a single element was finite: zero would look like a vanished tensor."""
        return np.where(self.finite > 0, values, np.nan)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Where there was a tensor at all (a frozen layer has no gradient)."""
        return self.finite + self.nonfinite > 0


class Totals:
    """Names for the columns that the kernel fills: `weight`, `gradient`, and what the last step changed."""

    def __init__(self, table: Float64) -> None:
        self._table = table
        self.weight = self._spread(0, WEIGHT_QUARTILES)
        self.gradient = self._spread(GRADIENT, GRADIENT_QUARTILES)
        self.pairs: Float64 = table[..., PAIRS]
        self.change_l1: Float64 = table[..., CHANGE_L1]
        self.change_l2: Float64 = np.sqrt(table[..., CHANGE_SQUARES])
        self.before_l1: Float64 = table[..., BEFORE_L1]
        self.before_l2: Float64 = np.sqrt(table[..., BEFORE_SQUARES])

    def _spread(self, first: int, quartiles: int) -> Spread:
        columns = [self._table[..., first + offset] for offset in range(GRADIENT)]
        return Spread(*columns, *[self._table[..., quartiles : quartiles + 3]])

    def above(self, exponent: int) -> Float64:
        """Number of weights whose relative change lies above 10**-exponent (0 to 6)."""
        counts: Float64 = self._table[..., ABOVE + exponent]
        return counts

    def column(self, number: int) -> Float64:
        """Return a column by its number: those behind the kernel's hold the user's own statistics."""
        values: Float64 = self._table[..., number]
        return values

    @property
    def interval(self) -> Float64:
        """Iterations from this record to the next."""
        column: Float64 = self._table[..., INTERVAL]
        return column
