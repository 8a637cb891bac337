"""What walls read from a run: statistics of layers and filters, curves of classes, results of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from deeptracker.app.wall.source import MISSING, Envelope, States, align, until_next
from deeptracker.data_model.run import Run
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import Statistic

Entities = npt.NDArray[np.int32]

DISTRIBUTION = ("min", "q1", "median", "q3", "max")
"""The statistics of one group that together are a distribution: ends, quartiles, median."""


def layer_statistics(run: Run) -> list[Statistic]:
    """Return every statistic that has layers for its rows: of weights, gradients and updates, and of activations."""
    return [*run.layer_statistics, *run.activation_statistics]


def distributions(statistics: Sequence[Statistic]) -> list[str]:
    """Return the groups (`weight`, `gradient`) of which a whole distribution is recorded."""
    names = {statistic.name for statistic in statistics}
    groups = dict.fromkeys(statistic.group for statistic in statistics if statistic.group)
    return [group for group in groups if all(f"{group}_{part}" in names for part in DISTRIBUTION)]


@dataclass(frozen=True)
class SeriesSource:
    """One variable of a family (`layers`, `filters`, `classes`); rows are entities of the family."""

    run: Run
    variable: str
    family: str

    def envelope(self, entities: Entities, iterations: tuple[int, int], columns: int) -> Envelope:
        """Return min, mean and max of the variable per bucket."""
        return query(self.run, self.variable, self.family, iterations, columns, entities)

    def pooled(self, members: Sequence[Sequence[int]], iterations: tuple[int, int], columns: int) -> Envelope:
        """Return min, mean and max of the variable per bucket and group of entities."""
        return query_groups(self.run, self.variable, self.family, iterations, columns, members)


@dataclass(frozen=True)
class DistributionSource:
    """The distribution of all weights (or gradients) of a layer: rows are layers.

    From the smallest to the largest value, the mean quartiles as the band, the mean median as the line.
    """

    run: Run
    group: str

    def envelope(self, entities: Entities, iterations: tuple[int, int], columns: int) -> Envelope:
        """Return the distribution per bucket."""
        return _distribution(
            query(self.run, f"{self.group}_{part}", "layers", iterations, columns, entities) for part in DISTRIBUTION
        )

    def pooled(self, members: Sequence[Sequence[int]], iterations: tuple[int, int], columns: int) -> Envelope:
        """Return the distribution per bucket and group of layers, with the means of their quartiles and medians."""
        return _distribution(
            query_groups(self.run, f"{self.group}_{part}", "layers", iterations, columns, members)
            for part in DISTRIBUTION
        )


def _distribution(parts: Iterable[Envelope]) -> Envelope:
    low, below, middle, above, high = parts
    lost = low.nonfinite | below.nonfinite | middle.nonfinite | above.nonfinite | high.nonfinite
    return Envelope(low.start, low.stop, low.low, below.middle, middle.middle, above.middle, high.high, lost)


@dataclass(frozen=True)
class CurvesSource:
    """A few single series, each with a recording rhythm of its own; rows are positions in `curves`."""

    run: Run
    curves: tuple[tuple[str, str], ...]

    def envelope(self, entities: Entities, iterations: tuple[int, int], columns: int) -> Envelope:
        """Return the curves, cut at all of their buckets' edges."""
        chosen = [self.curves[entity] for entity in entities]
        return align([query(self.run, variable, family, iterations, columns) for variable, family in chosen])


@dataclass(frozen=True)
class ImageSource:
    """Right, wrong, learned or forgotten at every validation: rows are images, by number."""

    run: Run

    def states(self, entities: Entities) -> States:
        """Return the states of the images."""
        results = self.run.validation_results(entities.tolist())
        return States(results.iteration, until_next(results.iteration), image_states(results))


def query(
    run: Run,
    variable: str,
    family: str,
    iterations: tuple[int, int],
    columns: int,
    entities: Entities | None = None,
) -> Envelope:
    """Query a run for an envelope (entities, buckets); without entities of a single series, one row."""
    if entities is None:
        found = run.query(variable, family=family, iterations=iterations, buckets=columns)
    else:
        numbers = entities.tolist()
        found = run.query(
            variable,
            iterations=iterations,
            buckets=columns,
            layers=numbers if family == "layers" else None,
            filters=numbers if family == "filters" else None,
            classes=numbers if family == "classes" else None,
        )

    return _envelope(found)


def query_groups(
    run: Run,
    variable: str,
    family: str,
    iterations: tuple[int, int],
    columns: int,
    members: Sequence[Sequence[int]],
) -> Envelope:
    """Query a run for the envelope (groups, buckets) of groups of a family's entities."""
    groups = {str(number): list(group) for number, group in enumerate(members)}
    return _envelope(run.query(variable, family=family, iterations=iterations, buckets=columns, blocks=groups))


def _envelope(found: xr.Dataset) -> Envelope:
    def rows(name: str) -> npt.NDArray[np.float32]:
        values = np.atleast_2d(found[name].values.T)
        return np.ascontiguousarray(values, np.float32)

    start, stop = (np.asarray(found[name].values, np.int64) for name in ("start", "stop"))
    return Envelope.of(start, stop, rows("min"), rows("mean"), rows("max"), rows("nonfinite") > 0)


def image_states(results: ValidationResults) -> npt.NDArray[np.uint8]:
    """Return the state of each image at each validation, uint8 (image, validation).

    A change is against the last validation that saw the image; the first one is no change.
    """
    right, seen = results.right, results.seen
    states = np.full(right.shape, MISSING, np.uint8)
    before = np.zeros(right.shape[1], np.bool_)
    known = np.zeros(right.shape[1], np.bool_)
    for number in range(len(right)):
        changed = seen[number] & known & (right[number] != before)
        states[number] = np.where(seen[number], right[number] + 2 * changed, MISSING)
        before = np.where(seen[number], right[number], before)
        known |= seen[number]
    return np.ascontiguousarray(states.T)
