"""Series that are zero for longer than their past explains, against a slow twin (synthetic)."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.data_model.zero_runs import ZeroRun, ZeroRuns

RISK = 1e-4


def slow(values: np.ndarray, layer: np.ndarray) -> list[ZeroRun]:
    """One series after the other: what is said in the file's first lines, and no more."""
    found = []
    for one in range(values.shape[1]):
        mates = values[:, layer == layer[one]]
        stays, moves, start, noticed = 1.0, 2.0, -1, -1
        length = 0
        for record, value in enumerate(values[:, one]):
            if value == 0 and not np.all(mates[record] == 0):
                start = start if length else record
                length += 1
                if noticed < 0 and length * np.log(stays / moves) < np.log(RISK):
                    noticed = record
            elif length and not np.isnan(value):
                stays, moves = stays + length - 1, moves + length
                if noticed >= 0:
                    found.append(ZeroRun(one, record - length, noticed, record))
                length, noticed = 0, -1
        if noticed >= 0:
            found.append(ZeroRun(one, len(values) - length, noticed, len(values)))
    return sorted(found, key=lambda run: (run.start, run.series))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 199), max_size=5), st.floats(0.05, 0.95))
def test_runs_of_zeros_are_those_of_the_slow_twin_in_whatever_portions(
    seed: int, portions: list[int], sparse: float
) -> None:
    random = np.random.default_rng(seed)
    layer = np.repeat([0, 1, 2], [4, 1, 3])
    values = np.where(random.random((200, 8)) < random.random(8) * sparse, 0, random.random((200, 8)) + 0.1)
    for column in range(8):
        start = random.integers(20, 180)
        values[start : start + random.integers(1, 60), column] = 0
    values[100:103, :4] = 0
    scan = ZeroRuns(layer, RISK)
    edges = [0, *sorted(set(portions)), 200]
    for first, stop in itertools.pairwise(edges):
        scan.advance(values[first:stop])
    assert scan.found() == slow(values, layer)


def test_one_that_is_zero_most_of_the_time_must_be_so_for_longer() -> None:
    random = np.random.default_rng(0)
    values = np.ones((400, 2))
    values[:300, 1] = random.random(300) > 0.9
    values[300:360] = 0
    values = np.column_stack([values, np.ones(400)])
    scan = ZeroRuns(np.zeros(3, int), RISK)
    scan.advance(values)
    noticed = {run.series: run.noticed for run in scan.found()}
    assert noticed[0] < 320
    assert noticed.get(1, 400) > noticed[0] + 20
