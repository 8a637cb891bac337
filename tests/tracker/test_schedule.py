"""When to record: intervals that keep the budget, and never flicker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deeptracker import Recorder, open_run
from deeptracker.tracker import steps
from deeptracker.tracker.schedule import LONGEST, Schedule, choose_interval
from deeptracker.tracker.snapshots import SnapshotBudget
from tests.tracker.networks import small, train

times = st.floats(1e-6, 10)


@given(times, times, st.floats(0.001, 1), st.sampled_from([1, 2, 8, 1024]))
def test_the_interval_keeps_the_budget_and_is_not_needlessly_long(cost, step, overhead, current):
    interval = choose_interval(cost, step, overhead, current)
    share = cost / step
    assert share / interval <= overhead or interval == LONGEST
    assert interval == 1 or share / (interval / 2) > 0.8 * overhead


def test_an_interval_that_fits_stays():
    # At half the interval the share would be just inside the budget: not enough to come back for.
    assert choose_interval(cost=0.0078, step=0.1, overhead=0.04, current=4) == 4
    assert choose_interval(cost=0.0078, step=0.1, overhead=0.04, current=1) == 2
    assert choose_interval(cost=0.0060, step=0.1, overhead=0.04, current=4) == 2


def test_a_given_interval_is_kept_whatever_it_costs():
    schedule = Schedule(3, 0.04)
    due = []
    for iteration in range(100):
        if schedule.due(iteration):
            due.append(iteration)
            schedule.observe_cost(100.0)
            schedule.recorded(iteration)
        schedule.observe_step(0.001)
    assert due == list(range(0, 100, 3))


def test_an_automatic_interval_grows_until_it_fits_and_shrinks_again():
    schedule = Schedule("auto", 0.05)
    intervals, cost = [], 0.001
    for iteration in range(4000):
        if schedule.due(iteration):
            schedule.observe_cost(cost)
            schedule.recorded(iteration)
        schedule.observe_step(0.001)
        intervals.append(schedule.interval)
        if iteration == 2000:
            cost = 0.00001
    assert intervals[0] == 1
    assert intervals[2000] == 32
    assert intervals[-1] == 1


def test_automatic_intervals_are_recorded_with_the_data(tmp_path, monkeypatch):
    """A recorder that finds itself expensive records more rarely, says so, and covers every iteration once."""
    monkeypatch.setattr(steps.Schedule, "observe_step", lambda self, _: self._steps.append(1e-5))
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", model, optimizer, overhead=0.5) as recorder:
        train(model, optimizer, 200, log=recorder.log)
    run = open_run(tmp_path / "run")
    iteration, interval = run.layers.iteration.values, run.layers.interval.values[:, 0]
    assert interval[-1] > 1
    np.testing.assert_array_equal(np.diff(iteration), interval[:-1])
    assert run.scalars.sizes["iteration"] == 200
    assert set(run.filters.iteration.values) <= set(iteration)
    assert (np.diff(run.filters.iteration) >= 16).all()


@pytest.mark.parametrize("size", [1000, 4000, 100_000])
def test_snapshots_never_outgrow_their_budget_and_never_end(size):
    budget = SnapshotBudget(size, budget=64_000)
    taken = [number for number in range(5000) if budget.grant()]
    assert len(taken) * size <= 64_000
    if size * 16 <= 64_000:
        assert taken[:3] == [0, 1, 2]
        assert taken[-1] > taken[len(taken) // 2] * 3
    else:
        assert not taken
