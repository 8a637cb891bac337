"""Training loops of every shape: what counts as an iteration, and what is recorded of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from tests.tracker import oracle
from tests.tracker.networks import batch, small, train


def test_gradient_accumulation_records_the_whole_gradient_and_the_mean_loss(tmp_path):
    torch.manual_seed(0)
    model = small().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected, losses = [], []
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        for step in range(3):
            optimizer.zero_grad()
            micro = []
            for part in range(4):
                x, y = batch(10 * step + part)
                loss = functional.cross_entropy(model(x), y) / 4
                loss.backward()
                recorder.log(loss=loss)
                micro.append(loss.item())
            optimizer.step()
            expected.append(oracle.spread("gradient", model[0].weight.grad.numpy())["gradient_l2"])
            losses.append(np.mean(micro))
    run = open_run(tmp_path / "run")
    np.testing.assert_allclose(run.layers.gradient_l2.isel(layer=0), expected, rtol=1e-5)
    np.testing.assert_allclose(run.scalars.loss, losses)


def test_several_optimizers_make_one_iteration(tmp_path):
    model = small()
    optimizers = [
        torch.optim.SGD(model[0].parameters(), lr=0.1),
        torch.optim.Adam(model[4].parameters(), lr=0.01),
    ]
    with Recorder(tmp_path / "run", model, optimizers, every=1) as recorder:
        for step in range(3):
            x, y = batch(step)
            model.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        assert recorder.iteration == 3
    run = open_run(tmp_path / "run")
    assert (run.layers.relative_change_l2 > 0).all()
    assert run.scalars["learning_rate/1"].values.tolist() == [0.01] * 3


@pytest.mark.parametrize("every", [1, 3])
def test_steps_by_hand_record_the_same_as_hooks(tmp_path, every):
    runs = []
    for hooks in (True, False):
        torch.manual_seed(5)
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        path = tmp_path / str(hooks)
        with Recorder(path, model, optimizer, every=every, hooks=hooks) as recorder:
            train(model, optimizer, 7, log=recorder.log, seen=lambda _, r=recorder, h=hooks: h or r.step())
        runs.append(open_run(path).layers.load())
    assert runs[0].equals(runs[1])


def test_a_step_by_hand_beside_the_hooks_is_refused(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        Recorder(tmp_path / "run", model, optimizer) as recorder,
        pytest.raises(RecordingError, match="hooks=False"),
    ):
        recorder.step()


def test_every_iteration_is_numbered_once_over_epochs_and_schedulers(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4], gamma=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1) as recorder:
        train(model, optimizer, 6, log=recorder.log, seen=lambda _: schedule.step())
    rates = open_run(tmp_path / "run").scalars.learning_rate
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01])


def test_sparse_gradients_of_an_embedding(tmp_path):
    model = nn.Sequential(nn.Embedding(50, 4, sparse=True), nn.Flatten(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1):
        functional.cross_entropy(model(torch.tensor([[1, 2], [3, 3]])), torch.tensor([0, 1])).backward()
        optimizer.step()
        expected = oracle.spread("gradient", model[0].weight.grad.to_dense().numpy())
    run = open_run(tmp_path / "run")
    assert run.layer_list[0].filters == 0
    for name, value in expected.items():
        np.testing.assert_allclose(run.layers[name].values[0, 0], value, rtol=1e-4, atol=1e-7)
