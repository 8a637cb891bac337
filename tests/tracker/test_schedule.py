"""When to record: intervals that keep the budget, and never flicker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker import plan
from deeptracker.tracker.schedule import LONGEST, choose_interval
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
    given = plan.Plan(3, "auto", None, 0.04)
    due = []
    for iteration in range(100):
        now = given.due(iteration)
        if now.layers:
            due.append(iteration)
            given.observe_layers(100.0)
        given.recorded(iteration, now)
        given.observe_step(0.001)
    assert due == list(range(0, 100, 3))


def test_an_automatic_interval_grows_until_it_fits_and_shrinks_again():
    chosen = plan.Plan("auto", "auto", None, 0.05)
    intervals, cost = [], 0.001
    for iteration in range(4000):
        now = chosen.due(iteration)
        if now.layers:
            chosen.observe_layers(cost)
        chosen.recorded(iteration, now)
        chosen.observe_step(0.001)
        intervals.append(chosen.layers.interval)
        if iteration == 2000:
            cost = 0.00001
    assert intervals[0] == 1
    assert intervals[2000] == 32
    assert intervals[-1] == 1


def test_automatic_intervals_are_recorded_with_the_data(tmp_path, monkeypatch):
    """A recorder that finds itself expensive records more rarely, says so, and covers every iteration once."""
    monkeypatch.setattr(plan.Schedule, "observe_step", lambda self, _: self._steps.append(1e-5))
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


def test_every_family_has_an_interval_of_its_own_that_can_be_changed_while_training(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    options = {"every": 4, "filters_every": 8, "activations": True, "activations_every": 5, "snapshots_every": 6}
    with Recorder(tmp_path / "run", model, optimizer, **options) as recorder:
        train(model, optimizer, 18, log=recorder.log)
        recorder.schedule(every=1, filters_every=2, activations_every=10, snapshots_every=3, overhead=0.5)
        train(model, optimizer, 5, log=recorder.log)
    run = open_run(tmp_path / "run")
    layers = run.layers.load()
    np.testing.assert_array_equal(layers.iteration, [0, 4, 8, 12, 16, 18, 19, 20, 21, 22])
    np.testing.assert_array_equal(run.filters.iteration, [0, 8, 16, 18, 20, 22])
    np.testing.assert_array_equal(run.activations.iteration, [0, 5, 10, 15, 20])
    np.testing.assert_array_equal(run.snapshot_iterations, [6, 12, 18, 21])
    # One step's change, whatever the interval: of one size before and after it was changed.
    change = layers.relative_change_l2.values
    assert change[5:].mean() == pytest.approx(change[:5].mean(), rel=0.5)
    [note] = [note for note in run.notes if note["key"] == "schedule"]
    assert (note["iteration"], note["every"], note["overhead"]) == (18, 1, 0.5)


def test_an_interval_that_makes_no_sense_changes_nothing(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", model, optimizer, every=2) as recorder:
        for wrong in ({"every": 0}, {"filters_every": 1.5}, {"snapshots_every": "often"}, {"overhead": 2}):
            with pytest.raises(RecordingError, match=next(iter(wrong))):
                recorder.schedule(**wrong)
        train(model, optimizer, 4)
    np.testing.assert_array_equal(open_run(tmp_path / "run").layers.iteration, [0, 2])


def test_layers_get_what_activations_leave_of_the_budget():
    shared = plan.Plan("auto", "auto", "auto", overhead=0.04)
    for iteration in range(4000):
        due = shared.due(iteration)
        if due.layers:
            shared.observe_layers(0.9e-3)
        if due.activations:
            shared.observe_activations(4e-3)
        shared.recorded(iteration, due)
        shared.observe_step(1e-2)
    assert shared.layers.share + shared.activations.share <= 0.04
    assert (shared.layers.interval, shared.activations.interval) == (4, 64)


def test_the_recorder_tells_what_it_takes(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        assert recorder.overhead == 0
        train(model, optimizer, 20)
        assert 0 < recorder.overhead < 100
        taken = recorder.overhead
    [note] = [note for note in open_run(tmp_path / "run").notes if note["key"] == "overhead"]
    assert note["share"] == pytest.approx(taken, abs=1e-3)


def test_snapshots_of_chosen_layers(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, snapshots=["4"], snapshots_every=2):
        train(model, optimizer, 4)
    run = open_run(tmp_path / "run")
    assert list(run.snapshots_of("4")) == [0, 1]
    assert list(run.snapshots_of("0")) == []
    np.testing.assert_array_equal(run.kernels("4", 1), model[4].weight.detach())
    with pytest.raises(RecordingError, match="snapshots names 'conv'"):
        Recorder(tmp_path / "other", model, optimizer, snapshots="conv")
