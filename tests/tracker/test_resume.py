"""A training that goes on from a checkpoint: the run is that of a training which was never interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import NotARunError, RecordingError
from tests.tracker.networks import batch, small

STEPS = 40


class Training:
    """A training with momentum, dropout and validations, which can save all of its state and go on from it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = small()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.step = 0
        self.losses: list[float] = []

    def run(self, recorder: Recorder | None, until: int) -> None:
        while self.step < until:
            x, y = batch(self.step)
            loss = torch.nn.functional.cross_entropy(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            if recorder is not None:
                recorder.log(loss=loss)
            self.optimizer.step()
            self.losses.append(loss.item())
            self.step += 1
            if recorder is not None and self.step % 5 == 0:
                state = torch.get_rng_state()
                with torch.no_grad(), recorder.validation() as validation:
                    validation.log(range(8), logits=self.model.eval()(x), targets=y)
                self.model.train()
                torch.set_rng_state(state)

    def state(self) -> dict[str, Any]:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**state, "random": torch.get_rng_state(), "step": self.step}

    def save(self, path: Path) -> None:
        torch.save(self.state(), path)

    @classmethod
    def load(cls, path: Path) -> Training:
        training, state = cls(), torch.load(path)
        training.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        training.step = state["step"]
        return training


def recorder_of(path: Path, training: Training, **options: Any) -> Recorder:
    options = {"every": 1, "filters_every": 4, **options}
    return Recorder(path, training.model, training.optimizer, **options)


def assert_same(one: Path, other: Path) -> None:
    """Every record, validation and snapshot of two runs is the same, bit by bit."""
    first, second = open_run(one), open_run(other)
    for family in ("scalars", "layers", "filters", "validation"):
        expected, found = getattr(first, family), getattr(second, family)
        assert set(expected.data_vars) == set(found.data_vars)
        assert expected.sizes == found.sizes, family
        np.testing.assert_array_equal(found.iteration.values, expected.iteration.values)
        for name in expected.data_vars:
            assert found[name].values.tobytes() == expected[name].values.tobytes(), f"{family} {name}"
    np.testing.assert_array_equal(second.snapshot_iterations, first.snapshot_iterations)
    for snapshot in range(len(first.snapshot_iterations)):
        np.testing.assert_array_equal(second.kernels("0", snapshot), first.kernels("0", snapshot))
    for buckets in (1, 5):
        expected, found = (run.query("weight_mean", family="layers", buckets=buckets) for run in (first, second))
        np.testing.assert_array_equal(found["mean"].values, expected["mean"].values)


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("saved", [20, 28, 33])
def test_a_training_that_goes_on_from_an_earlier_checkpoint_is_as_if_uninterrupted(tmp_path, saved, killed):
    whole = Training()
    with recorder_of(tmp_path / "whole", whole) as recorder:
        whole.run(recorder, STEPS)
    first = Training()
    recorder = recorder_of(tmp_path / "run", first)
    first.run(recorder, saved)
    first.save(tmp_path / "checkpoint.pt")
    first.run(recorder, 33)
    if killed:
        recorder.flush()
        recorder._recording.parts.background._writer.abandon()
    else:
        recorder.close()
    second = Training.load(tmp_path / "checkpoint.pt")
    with recorder_of(tmp_path / "run", second, resume=True, iteration=second.step) as recorder:
        assert recorder.iteration == saved
        second.run(recorder, STEPS)
        assert recorder.iteration == STEPS
    assert first.losses[:saved] + second.losses == whole.losses
    assert_same(tmp_path / "whole", tmp_path / "run")
    cuts = [(note["before"], note["last"]) for note in open_run(tmp_path / "run").notes if note["key"] == "cut"]
    assert cuts == ([(saved, 32)] if saved < 33 else [])


def test_a_checkpoint_later_than_what_was_committed_leaves_a_gap_that_is_said(tmp_path):
    training = Training()
    with recorder_of(tmp_path / "run", training) as recorder:
        training.run(recorder, 10)
    training.run(None, 14)
    with pytest.warns(RuntimeWarning, match="ends at iteration 9 and goes on at 14: the 4 between them are missing"):
        recorder = recorder_of(tmp_path / "run", training, resume=True, iteration=14)
    with recorder:
        assert recorder.iteration == 14
        training.run(recorder, 20)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers.iteration, [*range(10), *range(14, 20)])
    np.testing.assert_array_equal(run.scalars.loss, training.losses[:10] + training.losses[14:])
    assert [(note["first"], note["stop"]) for note in run.notes if note["key"] == "gap"] == [(10, 14)]


def test_a_new_run_may_begin_where_its_checkpoint_ends(tmp_path):
    training = Training()
    training.run(None, 7)
    with recorder_of(tmp_path / "run", training, resume=True, iteration=7) as recorder:
        training.run(recorder, 9)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers.iteration, [7, 8])
    np.testing.assert_array_equal(run.scalars.loss, training.losses[7:])
    assert [note["key"] for note in run.notes] == ["overhead"]


@pytest.mark.parametrize("iteration", [-1, True])
def test_an_iteration_that_is_none_is_refused(tmp_path, iteration):
    with pytest.raises(RecordingError, match="number of optimizer steps"):
        recorder_of(tmp_path / "run", Training(), iteration=iteration)
    assert not (tmp_path / "run").exists()


def test_another_network_changes_nothing_of_the_run_it_cannot_resume(tmp_path):
    training = Training()
    with recorder_of(tmp_path / "run", training) as recorder:
        training.run(recorder, 10)
    before = (tmp_path / "run" / "zarr.json").read_bytes()
    other = torch.nn.Linear(3, 3)
    with pytest.raises(RecordingError, match="cannot be resumed"):
        Recorder(tmp_path / "run", other, torch.optim.SGD(other.parameters(), lr=0.1), resume=True, iteration=2)
    assert (tmp_path / "run" / "zarr.json").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(NotARunError, match="is a file"):
        recorder_of(tmp_path / "file", Training(), resume=True)
