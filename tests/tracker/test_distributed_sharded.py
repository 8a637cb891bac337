"""Sharded training (FSDP2) in two processes: the run is the one that training in one process leaves."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional

from deeptracker import Recorder, open_run, statistic
from deeptracker.data_model.errors import RecordingError
from tests.tracker.networks import batch
from tests.tracker.processes import run_ranks
from tests.tracker.test_shards import Uneven, network

STEPS = 7
INTERVALS = {"every": 2, "filters_every": 3, "snapshots_every": 4}
RUNS = {"each": {"every": 1, "filters_every": 1}, "some": INTERVALS, "by hand": {"every": 3, "hooks": False}}


def train(model: Uneven, path: Path | None, **options: object) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Train like a script, the same on every rank: both have the same batches, so one process alone does the same."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    recorder = Recorder(path, model, optimizer, **options) if path else None
    first = recorder.iteration if recorder else 0
    losses = []
    for step in range(STEPS):
        if recorder and step == 5:
            recorder.snapshot()
        x, y = batch(step)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        if recorder:
            recorder.log(loss=loss)
        optimizer.step()
        losses.append(loss.item())
        if recorder and options.get("hooks") is False:
            recorder.step()
    if recorder:
        assert recorder.iteration == first + STEPS
        recorder.close()
    return losses, {name: whole(value) for name, value in model.state_dict().items()}


def whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def sharded() -> Uneven:
    model = network()
    fully_shard(model.wide)
    fully_shard(model)
    return model


def shards_like_one_process(_rank: int, folder: Path) -> None:
    losses, weights = train(sharded(), None)
    for name, options in RUNS.items():
        recorded, after = train(sharded(), folder / name, **options)
        assert recorded == losses
        assert all(torch.equal(after[key], weights[key]) for key in weights)
    train(sharded(), folder / "some", resume=True, **INTERVALS)
    train(sharded(), folder / "some", resume=True, iteration=9, **INTERVALS)


def test_a_sharded_training_leaves_the_run_of_one_process(tmp_path):
    run_ranks(shards_like_one_process, tmp_path, tmp_path)
    for name, options in RUNS.items():
        train(network(), tmp_path / f"{name}-whole", **options)
        if name == "some":
            train(network(), tmp_path / f"{name}-whole", resume=True, **options)
            train(network(), tmp_path / f"{name}-whole", resume=True, iteration=9, **options)
        run, expected = open_run(tmp_path / name), open_run(tmp_path / f"{name}-whole")
        assert run.layer_list == expected.layer_list
        assert run.description.model == "Uneven"
        for family in ("layers", "filters"):
            mine, theirs = getattr(run, family).load(), getattr(expected, family).load()
            np.testing.assert_array_equal(mine.iteration, theirs.iteration)
            for key in mine.data_vars:
                # A share of counted values may differ by one where a change lies at its bound.
                tolerance = 0.02 if key.startswith("change_above") else 1e-6
                np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-4, atol=tolerance, err_msg=key)
        np.testing.assert_allclose(run.scalars.loss, expected.scalars.loss, rtol=1e-5)
        assert run.state == "closed"
        assert 5 in run.snapshot_iterations
        mine, theirs = list(run.snapshot_iterations), list(expected.snapshot_iterations)
        for iteration in set(mine) & set(theirs):
            for layer in ("conv1", "up", "single"):
                kernels = run.kernels(layer, mine.index(iteration)), expected.kernels(layer, theirs.index(iteration))
                np.testing.assert_allclose(*kernels, rtol=1e-4, atol=1e-6)
    # Recorded from 0, from where that ended, and once more from the ninth step on.
    assert open_run(tmp_path / "some").scalars.sizes["iteration"] == 9 + STEPS


def goes_on_after_failures(rank: int, folder: Path) -> None:
    # The first rank cannot write any more: the other one hears of it, and both train on.
    model = sharded()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(folder / "breaks", model, optimizer, every=1, on_error="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(6):
            if step == 2 and rank == 0:
                recorder._recording.parts.background._fail(OSError("no space left"))
            take_step(model, optimizer, step)
        assert recorder.iteration == 6
        recorder.close()
    assert [one.category for one in caught if "no space left" in str(one.message)] == [RuntimeWarning] * (rank == 0)
    # A rank that cannot measure says so: the first one stops with an error of its own.
    recorder = Recorder(folder / "rank", model, optimizer, every=1, on_error="warn")
    if rank == 1:
        recorder._recording.steps._local.measure = lambda *_: 1 / 0
    with pytest.warns(RuntimeWarning, match="ZeroDivisionError: division by zero"):
        take_step(model, optimizer, 0)
    take_step(model, optimizer, 1)
    take_step(model, optimizer, 2)
    assert recorder.iteration == 3
    recorder.close()
    # What no rank can compute is refused, on all ranks.
    with pytest.raises(RecordingError, match="statistics cannot be recorded of weights that are sharded"):
        Recorder(folder / "own", model, optimizer, statistics=[statistic(largest)])
    distributed.barrier()


def largest(weight: torch.Tensor) -> torch.Tensor:
    return weight.abs().max()


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    x, y = batch(step)
    optimizer.zero_grad()
    functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def test_sharded_training_goes_on_when_recording_fails_on_either_rank(tmp_path):
    run_ranks(goes_on_after_failures, tmp_path, tmp_path)
