"""The registry of recorded statistics: one entry each. A new statistic is one more entry here.

An entry carries its description, which travels with the store to every reader, and the pure function that derives
its values from what the kernel measured (`Totals`, float64, any leading axes) for all layers or filters at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import narrowed, recorded
from deeptracker.data_model.vocabulary import Statistic
from deeptracker.tracker.totals import Float64, Spread, Totals

EPSILON = 1e-12
"""Added to the norm of the weights before a step, so that a layer that starts at zero has a finite change."""

_PAPER = "Liu et al., DeepTracker, ACM TIST 2018 (arXiv 1808.08531)"


@dataclass(frozen=True)
class Entry:
    """A statistic, and the function that derives it; one of the gradient is missing where there is no gradient.

    The values of a `measured` one are complete as they are: what is missing in them is marked as such already.
    """

    statistic: Statistic
    derive: Callable[[Totals], Float64]
    needs_gradient: bool = False
    measured: bool = False


def derive(entries: Sequence[Entry], table: Float64) -> NDArray[np.float32]:
    """Return every entry's values, float32 (..., statistic, entity), from the kernel's table (..., entity, column).

    A statistic of a gradient that was not there is missing (plain NaN); a NaN that was measured is marked as recorded.
    """
    totals = Totals(table)
    values = np.empty((*table.shape[:-2], len(entries), table.shape[-2]), np.float32)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for number, entry in enumerate(entries):
            derived = entry.derive(totals)
            values[..., number, :] = narrowed(derived) if entry.measured else recorded(derived.astype(np.float32))
    absent = ~totals.gradient.present
    if absent.any():
        for number, entry in enumerate(entries):
            if entry.needs_gradient:
                values[..., number, :][absent] = np.nan
    return values


def _spread_entries(group: str, title: str, spread: Callable[[Totals], Spread]) -> Iterable[Entry]:
    def entry(
        name: str, meaning: str, derived: Callable[[Spread], Float64], unit: str = "", log: bool = False
    ) -> Entry:
        statistic = Statistic(f"{group}_{name}", unit, f"{meaning} of the {title}", _PAPER, group, log)
        return Entry(statistic, lambda totals: derived(spread(totals)), needs_gradient=group == "gradient")

    yield entry("min", "Smallest", lambda s: s.known(s.minimum))
    yield entry("q1", "First quartile, from a fixed sample of at most 1024,", lambda s: s.quartiles[..., 0])
    yield entry("median", "Median, from a fixed sample of at most 1024,", lambda s: s.quartiles[..., 1])
    yield entry("q3", "Third quartile, from a fixed sample of at most 1024,", lambda s: s.quartiles[..., 2])
    yield entry("max", "Largest", lambda s: s.known(s.maximum))
    yield entry("mean", "Mean", lambda s: s.known(s.mean))
    yield entry("std", "Standard deviation", lambda s: s.std, log=True)
    yield entry("l1", "Sum of absolute values", lambda s: s.known(s.l1), log=True)
    yield entry("l2", "Euclidean norm", lambda s: s.known(s.l2), log=True)
    yield entry("nonzero", "Share of non-zero values", lambda s: s.nonzero / s.finite, unit="share")
    yield entry("nonfinite", "Number of NaN and Inf", lambda s: s.nonfinite, unit="count")


def _change(name: str, meaning: str, derived: Callable[[Totals], Float64]) -> Entry:
    return Entry(Statistic(f"relative_change_{name}", "", meaning, _PAPER, "update", True), derived)


def _above(exponent: int) -> Entry:
    bound = "1" if exponent == 0 else f"1e-{exponent}"
    meaning = f"Share of weights that the step changed by more than {bound} of themselves"
    statistic = Statistic(f"change_above_{bound}", "share", meaning, _PAPER, "update")
    return Entry(statistic, lambda totals: totals.above(exponent) / totals.pairs)


_RELATIVE_L1 = _change(
    "l1",
    "|dW| / (|W| + 1e-12) in the L1 norm; dW is what one step changed, W the weights before it",
    lambda totals: totals.change_l1 / (totals.before_l1 + EPSILON),
)
_RELATIVE_L2 = _change(
    "l2",
    "|dW| / (|W| + 1e-12) in the L2 norm; dW is what one step changed, W the weights before it",
    lambda totals: totals.change_l2 / (totals.before_l2 + EPSILON),
)
_WEIGHT = tuple(_spread_entries("weight", "weights", lambda totals: totals.weight))
_GRADIENT = tuple(_spread_entries("gradient", "gradient", lambda totals: totals.gradient))
_INTERVAL = Entry(
    Statistic("interval", "iterations", "Iterations from this record to the next one", "", "schedule"),
    lambda totals: totals.interval,
)

LAYER_ENTRIES: tuple[Entry, ...] = (
    *_WEIGHT,
    *_GRADIENT,
    _RELATIVE_L1,
    _RELATIVE_L2,
    *(_above(exponent) for exponent in range(7)),
    _INTERVAL,
)


def _named(entries: Iterable[Entry], name: str) -> Entry:
    return next(entry for entry in entries if entry.statistic.name == name)


FILTER_ENTRIES: tuple[Entry, ...] = (
    _RELATIVE_L1,
    _RELATIVE_L2,
    _named(_WEIGHT, "weight_std"),
    _named(_GRADIENT, "gradient_l1"),
    _named(_GRADIENT, "gradient_l2"),
)

LAYER_STATISTICS: tuple[Statistic, ...] = tuple(entry.statistic for entry in LAYER_ENTRIES)
FILTER_STATISTICS: tuple[Statistic, ...] = tuple(entry.statistic for entry in FILTER_ENTRIES)
