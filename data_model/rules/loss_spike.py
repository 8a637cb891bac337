"""Sudden upward spikes of a loss, against the median and spread of the records before.

The reference is the same for all records of a block of 25, aligned to the first recorded value, and covers
the 250 records before the block. So a million records need 40,000 medians, not a million, and the answer for
a record never depends on where a query begins.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.robust import centre_and_spread
from deeptracker.data_model.rules.base import Rule, RunData, Window, clip, spans

Floats = npt.NDArray[np.float64]

BLOCK = 25
BLOCKS_AT_ONCE = 4096


def spike_scores(values: Floats, window: int, fewest: int, floor: float, blocks: range) -> Floats:
    """Return the upward robust z of each record in the given blocks of 25; 0 where it is no new maximum.

    `values` are all finite records of a series, `window` is a multiple of 25. Where the reference is positive
    throughout, logarithms are compared (a loss is skewed, and its size changes by decades); else the values
    as they are, with a floor relative to the median. Records with fewer than `fewest` before their block
    score 0.
    """
    scores = np.zeros(len(blocks) * BLOCK)
    early = [block for block in blocks if block * BLOCK < window]
    groups = [range(block, block + 1) for block in early]
    full = range(blocks.start + len(early), blocks.stop)
    groups += [full[first : first + BLOCKS_AT_ONCE] for first in range(0, len(full), BLOCKS_AT_ONCE)]
    for group in groups:
        begin, length = group.start * BLOCK, min(group.start * BLOCK, window)
        if length < fewest:
            continue
        last = (group.stop - 1) * BLOCK
        reference = np.lib.stride_tricks.sliding_window_view(values[begin - length : last], length)[::BLOCK]
        judged = np.full(len(group) * BLOCK, -np.inf)
        available = values[begin : group.stop * BLOCK]
        judged[: len(available)] = available
        offset = begin - blocks.start * BLOCK
        scores[offset : offset + len(judged)] = _against(judged.reshape(len(group), BLOCK), reference, floor).ravel()
    return scores[: max(len(values) - blocks.start * BLOCK, 0)]


def _against(judged: Floats, reference: Floats, floor: float) -> Floats:
    """Robust z of (block, record) against (block, reference records)."""
    highest = reference.max(axis=1, keepdims=True)
    positive = (reference.min(axis=1) > 0)[:, None]
    tiny = np.finfo(np.float64).tiny
    compared = np.where(positive, np.log(np.maximum(reference, tiny)), reference)
    value = np.where(positive, np.log(np.maximum(judged, tiny)), judged)
    centre, width = centre_and_spread(compared)
    least = np.where(positive[:, 0], floor, np.maximum(floor * np.abs(centre), tiny))
    score = (value - centre[:, None]) / np.maximum(width, least)[:, None]
    return np.where(judged > highest, score, 0)


class LossSpike(Rule):
    """A loss jumps far above the records before it."""

    name = param.String(default="loss_spike", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Loss spike"
    standing: ClassVar[Standing] = Standing.STRONG
    source: ClassVar[str] = (
        "Robust z-score (Iglewicz and Hoaglin 1993) above 6 in a sliding window, and above all of the window"
    )

    z = param.Number(default=6.0, bounds=(1, 1000), doc="Robust z-score above which a record is a spike.")
    window = param.Integer(
        default=250, bounds=(BLOCK, 100_000), step=BLOCK, doc="Records before that it is compared with."
    )
    fewest = param.Integer(default=250, bounds=(BLOCK, 100_000), doc="Records needed before the first one is judged.")
    floor = param.Number(default=0.03, bounds=(1e-6, 10), doc="Least spread, in ln(loss): 0.03 is three percent.")

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return spikes in every scalar with "loss" in its name; neighbours in a block are one; score =
        robust z over the threshold."""
        anomalies = []
        scalars = run.scalars
        for index, name in enumerate(map(str, scalars.data_vars)):
            if "loss" in name.lower():
                anomalies += self._of_scalar(scalars, name, index, iterations)
        return clip(anomalies, iterations)

    def _of_scalar(self, scalars: xr.Dataset, name: str, index: int, iterations: Window) -> list[Anomaly]:
        values = np.asarray(scalars[name].values, np.float64)
        known = np.isfinite(values)
        values, iteration = values[known], np.asarray(scalars["iteration"].values, np.int64)[known]
        blocks = _blocks(iteration, iterations)
        if len(blocks) == 0:
            return []
        window = max(self.window // BLOCK, 1) * BLOCK
        scores = spike_scores(values, window, self.fewest, self.floor, blocks)
        start, stop = spans(iteration)
        found = []
        for first, last in _neighbours(np.flatnonzero(scores > self.z)):
            position = blocks.start * BLOCK + first
            peak = position + int(np.argmax(scores[first : last + 1]))
            score = scores[peak - blocks.start * BLOCK]
            before = _middle(values, position, window)
            message = f"{name} jumped to {values[peak]:.4g}, from about {before:.4g} before"
            span = (start[position], stop[blocks.start * BLOCK + last])
            found.append(self.anomaly(name, index, span, score / self.z, message))
        return found


def _blocks(iteration: npt.NDArray[np.int64], iterations: Window) -> range:
    """Return the blocks of records that touch the window, plus one before: its last record may reach in."""
    if iterations is None:
        return range(0, -(-len(iteration) // BLOCK))
    first, last = np.searchsorted(iteration, iterations)
    return range(max(int(first) - 1, 0) // BLOCK, -(-int(last) // BLOCK))


def _neighbours(positions: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Group consecutive positions within one block into [first, last]."""
    if len(positions) == 0:
        return []
    cuts = np.flatnonzero((np.diff(positions) > 1) | (np.diff(positions // BLOCK) > 0)) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(positions, cuts)]


def _middle(values: Floats, position: int, window: int) -> float:
    begin = position // BLOCK * BLOCK
    return float(np.median(values[max(begin - window, 0) : begin]))
