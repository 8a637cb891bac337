"""Stretches of records that carry a mark: exact to the record, and found by going down the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

from deeptracker.data_model.rules.base import RunData
from deeptracker.data_model.vocabulary import ACTIVATIONS, SCALARS

Mask = npt.NDArray[np.bool_]
Read = Callable[[tuple[int, int], int], xr.Dataset]
Judge = Callable[[xr.Dataset], tuple[Mask, Mask]]
Span = tuple[int, int, int]
"""Series, first iteration, and the one after the last."""

COARSE, FINE = 1500, 65_536
"""Buckets of the first look at the whole window, and of the second into what is not clear from it."""


def marked_spans(read: Read, judge: Judge, iterations: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return (series, start, stop) of the records that `judge` marks, exact to the record.

    A look at coarse buckets clears most of a run and finds where everything is marked; only what is mixed is
    read record by record.
    """
    found: list[tuple[int, int, int]] = []
    pending = [(iterations, COARSE)] if iterations[0] < iterations[1] else []
    while pending:
        window, buckets = pending.pop()
        seen = read(window, buckets)
        hot, full = judge(seen)
        start, stop = seen["start"].values, seen["stop"].values
        bucket, series = np.nonzero(hot & full)
        found += zip(series.tolist(), start[bucket].tolist(), stop[bucket].tolist(), strict=True)
        mixed: Mask = np.any(hot & ~full, axis=1)
        for first, last in _pieces(mixed, seen["record_count"].values):
            inside = (int(start[first]), int(stop[last]))
            found = [span for span in found if not inside[0] <= span[1] < inside[1]]
            pending.append((inside, FINE))
    return _joined(found)


def _pieces(mixed: Mask, records: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut runs of mixed buckets into pieces [first, last] of at most `FINE` records."""
    first, held = -1, 0
    for bucket, wanted in enumerate(mixed):
        if first >= 0 and (not wanted or held + records[bucket] > FINE):
            yield first, bucket - 1
            first, held = -1, 0
        if wanted:
            first, held = (bucket if first < 0 else first), held + int(records[bucket])
    if first >= 0:
        yield first, len(mixed) - 1


def _joined(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Join spans of the same series that meet."""
    joined: list[tuple[int, int, int]] = []
    for series, start, stop in sorted(found):
        if joined and joined[-1][0] == series and joined[-1][2] >= start:
            joined[-1] = (series, joined[-1][1], max(stop, joined[-1][2]))
        else:
            joined.append((series, start, stop))
    return joined


class SpanWatch:
    """Follows the marked stretches of one variable of a growing run, looking only at what is new."""

    def __init__(self, family: str, variable: str, judge: Judge) -> None:
        self._family, self._variable, self._judge = family, variable, judge
        self._seen: int | None = None
        self._spans: list[Span] = []

    def update(self, run: RunData) -> list[Span]:
        """Return all marked stretches so far, joined where they meet."""
        first, stop = run.iterations
        since = first if self._seen is None else self._seen

        def read(inside: tuple[int, int], buckets: int) -> xr.Dataset:
            return run.query(self._variable, family=self._family, iterations=inside, buckets=buckets)

        if since < stop:
            # The record that was last stood for one iteration then, and may stand for more by now.
            known = [(series, begin, min(end, since)) for series, begin, end in self._spans if begin < since]
            self._spans = _joined([*known, *marked_spans(read, self._judge, (since, stop))])
            of_family = {SCALARS: lambda: run.scalars, ACTIVATIONS: lambda: run.activations}
            records = of_family.get(self._family, lambda: run.layers)()["iteration"].values
            self._seen = int(records[-1]) if len(records) else since
        return self._spans
