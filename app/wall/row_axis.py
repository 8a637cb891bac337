"""The wall's own axis: rows count downward from 0 at the top, so that in the browser y = -row."""

from __future__ import annotations

import math
from typing import Any

from bokeh.models import Range1d

TALLEST_ROW = 110
"""CSS pixels that a row takes at most while all rows are on screen."""
FEWEST_ROWS = 1.5
"""Rows that stay on screen at the deepest zoom."""


class RowAxis:
    """Owns the range `y` of a wall's figures, and keeps it within the rows there are."""

    def __init__(self) -> None:
        self.y = Range1d(start=-1, end=0)

    @property
    def ends(self) -> tuple[float, float]:
        """The rows [top, bottom) on screen."""
        return negated(self.y)

    @property
    def everything(self) -> bool:
        """Whether all rows are on screen."""
        top, bottom = self.ends
        extent: Any = self.y.reset_start
        return extent is None or bottom - top >= 0.98 * -float(extent)

    def fit(self, rows: int, height: float, everything: bool) -> None:
        """Make room for so many rows on `height` CSS pixels; keep what is on screen unless `everything` should be.

        A few rows do not fill a tall screen.
        """
        extent = float(max(1, rows, math.ceil(height / TALLEST_ROW)))
        top, bottom = self.ends
        if everything:
            top, bottom = 0.0, extent
        else:
            span = min(bottom - top, extent)
            top = min(max(0.0, top), extent - span)
            bottom = top + span
        # One after the other reaches the browser, and what it finds out of bounds it corrects and sends back: so there
        # are no bounds while the ends move. Where changes are held and combined, each counts at its first place: the
        # least interval must not grow before the ends do.
        least = min(FEWEST_ROWS, extent)
        known: Any = self.y.min_interval
        if known is not None and least < known:
            self.y.min_interval = least
        self.y.bounds = None
        self.y.update(start=-bottom, end=-top or 0.0, reset_start=-extent, reset_end=0)
        self.y.update(bounds=(-extent, 0), min_interval=least)


def negated(of: Range1d) -> tuple[float, float]:
    """Return (-end, -start) of a range."""
    start: Any = of.start
    end: Any = of.end
    return -float(end), -float(start)
