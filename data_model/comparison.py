"""Comparing runs: aligned by iteration, epoch or samples; what parted first, and which images they judge apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deeptracker.data_model.alignment import Align, course_of
from deeptracker.data_model.divergence import Parting, first_parting, parting, resample
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import Run
from deeptracker.data_model.run_matching import VALIDATION, Group, distinct, last_answers, matched
from deeptracker.data_model.vocabulary import CLASSES, LAYERS, SCALARS

Floats = npt.NDArray[np.float64]
FAMILIES = (SCALARS, VALIDATION, LAYERS, CLASSES)
ENTITY = {LAYERS: "layer", CLASSES: "class"}
BUCKETS = 200
FINER = 4
"""So many times as many buckets are read of a run as are compared, so that aligned ones are cut out well."""

WITHOUT_REPEATS = (
    "no repeats were given: noise is how much a difference jumps from one bucket to the next, and says nothing of how "
    "far two seeds of the same settings would lie apart"
)
WITH_REPEATS = (
    "noise is the deviation of repeats from the mean of their group ({freedom} degrees of freedom), pooled over groups "
    "and averaged over neighbouring buckets"
)


class Comparison:
    """Two or more runs, or groups of repeats of a run, side by side; see `compare_runs`.

    `names` of the groups; `window` is the stretch (positions) that all of them have; `unmatched` lists by kind and
    group what others do not have, and what is therefore left out; `noise` says how noise is estimated.
    """

    def __init__(self, groups: Sequence[Group], align: Align) -> None:
        """Take the groups; QueryError where they cannot be aligned."""
        self.groups, self.align = [list(group) for group in groups], align
        self.names = distinct([str(group[0].name) for group in groups])
        runs = [run for group in self.groups for run in group]
        self._courses = [[course_of(run, align) for run in group] for group in self.groups]
        spans = [
            course.position(run.iterations)
            for course, run in zip((c for group in self._courses for c in group), runs, strict=True)
        ]
        self.window = (float(max(span[0] for span in spans)), float(min(span[1] for span in spans)))
        if not self.window[0] < self.window[1]:
            reach = "; ".join(f"{run.name}: {a:g} to {b:g}" for run, (a, b) in zip(runs, spans, strict=True))
            raise QueryError(f"The runs have no {align} in common ({reach}).")
        self._shared, self.unmatched = matched(self.groups, self.names)
        freedom = sum(len(group) - 1 for group in self.groups)
        self.noise = WITH_REPEATS.format(freedom=freedom) if freedom else WITHOUT_REPEATS

    def variables(self, family: str) -> list[str]:
        """Return what all runs have in a family."""
        return self._shared[family]

    def series(
        self,
        variable: str,
        family: str,
        *,
        window: tuple[float, float] | None = None,
        buckets: int = BUCKETS,
        entities: Sequence[str] | None = None,
    ) -> xr.Dataset:
        """Return a variable of all groups in the same buckets of a window (positions).

        `value` (group, bucket, entity) is the mean of a group's runs, `difference` that of each group from the first,
        `z` the difference in units of its noise; for scalars and the whole validation there is no entity. `start`,
        `stop` (bucket) are positions, `iteration` (group, bucket) is where a bucket begins in each group's first run.
        `entities` are names of layers or classes, all that all runs have where they are left out.
        """
        if variable not in self.variables(family):
            raise QueryError(
                f"All runs have {', '.join(self.variables(family)) or 'nothing'} of {family}, no {variable!r}."
            )
        names = self._entities(family, entities)
        edges = np.linspace(*(window or self.window), buckets + 1)
        values = self._values(variable, family, names, edges)
        found = [parting(values[0], other) for other in values]
        dims = ("group", "bucket", "entity")
        data: dict[str, Any] = {
            "value": (dims, np.stack([group.mean(axis=0) for group in values])),
            "difference": (dims, np.stack([one.difference for one in found])),
            "z": (dims, np.stack([one.z for one in found])),
        }
        begins = np.stack([courses[0].iteration(edges[:-1]) for courses in self._courses])
        coords = {
            "group": self.names,
            "start": ("bucket", edges[:-1]),
            "stop": ("bucket", edges[1:]),
            "iteration": (("group", "bucket"), np.round(begins).astype(np.int64)),
        }
        made = xr.Dataset(data, coords=coords, attrs={"variable": variable, "align": str(self.align)})
        if family not in ENTITY:
            return made.isel(entity=0)
        return made.assign_coords(entity=names).rename(entity=ENTITY[family])

    def partings(
        self, *, families: Sequence[str] = FAMILIES, buckets: int = BUCKETS, threshold: float = 6.0, lasting: int = 3
    ) -> pd.DataFrame:
        """Return what parted, the first first: a row per group (against the first), variable and entity.

        Apart means a difference of more than `threshold` times its noise, to the same side, in `lasting` buckets in a
        row. Statistics that are best read on a logarithmic scale are compared as logarithms: their `difference` is a
        factor, given as its logarithm. `position` and the first run's `iteration` say where, `z` how clearly.
        """
        edges, rows = np.linspace(*self.window, buckets + 1), []
        iterations = self._courses[0][0].iteration(edges)
        for family in families:
            names = self._entities(family, None)
            for variable in self.variables(family):
                values = self._values(variable, family, names, edges)
                if self._logarithmic(variable, family):
                    with np.errstate(divide="ignore", invalid="ignore"):
                        values = [np.where(group > 0, np.log(group), np.nan) for group in values]
                for group, other in enumerate(values[1:], 1):
                    found = parting(values[0], other)
                    for entity, at in enumerate(first_parting(found, threshold, lasting)):
                        if at >= 0:
                            rows.append(self._row(group, family, variable, names[entity], found, (at, entity))
                                        | {"position": edges[at], "iteration": round(iterations[at])})  # fmt: skip
        columns = ["group", "family", "variable", "entity", "position", "iteration", "difference", "z"]
        table = pd.DataFrame(rows, columns=columns)
        strength = table["z"].abs()
        order = np.lexsort((-strength.to_numpy(np.float64), table["position"].to_numpy(np.float64)))
        return table.iloc[order].reset_index(drop=True)

    def images(self) -> pd.DataFrame:
        """Return the images that the groups do not all judge alike at their end: `id`, `class`, and a column a group.

        Right is a share of the group's runs, 0 or 1 without repeats. Those that differ most from the first come first.
        """
        ends = [[last_answers(run) for run in group] for group in self.groups]
        shared = sorted(set.intersection(*(set(one.index) for group in ends for one in group)))
        shares = {
            name: np.mean([one.loc[shared, "right"].to_numpy(np.float64) for one in group], axis=0)
            for name, group in zip(self.names, ends, strict=True)
        }
        table = pd.DataFrame({"id": shared, "class": ends[0][0].loc[shared, "class"].to_numpy(), **shares})
        values = table[self.names].to_numpy(np.float64)
        apart = np.abs(values - values[:, :1]).max(axis=1) if len(table) else np.zeros(0)
        order = np.argsort(-apart, kind="stable")
        return table.iloc[order[apart[order] > 0]].reset_index(drop=True)

    def _entities(self, family: str, chosen: Sequence[str] | None) -> list[str]:
        if family not in ENTITY:
            return [""]
        names = self._shared[f"{family} names"]
        unknown = [one for one in chosen or () if one not in names]
        if unknown:
            raise QueryError(f"Not all runs have {unknown[0]!r} among their {family}.")
        return list(chosen) if chosen is not None else names

    def _values(self, variable: str, family: str, names: Sequence[str], edges: Floats) -> list[Floats]:
        """Return (run, bucket, entity) of each group."""
        return [
            np.stack(
                [
                    _aligned(run, course, variable, family, names, edges)
                    for run, course in zip(group, courses, strict=True)
                ]
            )
            for group, courses in zip(self.groups, self._courses, strict=True)
        ]

    def _logarithmic(self, variable: str, family: str) -> bool:
        if family != LAYERS:
            return variable == "loss"
        return any(one.logarithmic for one in self.groups[0][0].layer_statistics if one.name == variable)

    def _row(
        self, group: int, family: str, variable: str, entity: str, found: Parting, place: tuple[int, int]
    ) -> dict[str, Any]:
        difference, z = float(found.difference[place]), float(found.z[place])
        return {
            "group": self.names[group],
            "family": family,
            "variable": variable,
            "entity": entity,
            "difference": difference,
            "z": z,
        }


def compare_runs(runs: Sequence[Run | Group], align: str = "iteration") -> Comparison:
    """Lay runs side by side by `iteration`, `epoch` or `samples`, and return their `Comparison` with the first.

    Each of `runs` is a run, or a sequence of repeats: runs of the same settings with other seeds, which tell noise
    from effect. What is compared is matched by name. Raises QueryError for fewer than two, for an unknown alignment,
    and where a run does not tell its epochs or samples.
    """
    groups: list[Group] = [[one] if isinstance(one, Run) else list(one) for one in runs]
    if len(groups) < 2 or not all(groups):
        raise QueryError(f"Comparing needs two runs or more, or groups of at least one; {len(groups)} were given.")
    if align not in list(Align):
        raise QueryError(f"Runs are aligned by {', '.join(Align)}; {align!r} was given.")
    return Comparison(groups, Align(align))


def _aligned(run: Run, course: Any, variable: str, family: str, names: Sequence[str], edges: Floats) -> Floats:
    first, stop = run.iterations
    begin = max(first, int(np.floor(course.iteration(edges[0]))))
    end = min(stop, int(np.ceil(course.iteration(edges[-1]))))
    chosen: dict[str, Any] = {family: list(names)} if family in ENTITY else {}
    window = (begin, max(end, begin + 1))
    found = run.query(variable, family=family, iterations=window, buckets=FINER * (len(edges) - 1), **chosen)
    starts, stops = (course.position(found[name].values) for name in ("start", "stop"))
    values = found["mean"].values
    return resample(edges, starts, stops, values if values.ndim == 2 else values[:, None])
