"""Recording on a device never makes the host wait for it: a far device refuses whatever would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.tracker import assembly
from deeptracker.tracker.device.measure import DeviceMeasure
from deeptracker.tracker.device.steps import DeferredSteps
from tests.tracker.far_device import FAR, Far, FarDevice, WaitError, send
from tests.tracker.networks import Mixed, batch, trainable


def record(path, far: bool, **options):
    torch.manual_seed(0)
    model = send(Mixed()) if far else Mixed()
    optimizer = torch.optim.SGD(trainable(model), lr=0.05, momentum=0.9)
    with Recorder(path, model, optimizer, **options) as recorder:
        for step in range(9):
            x, y = (Far(one) for one in batch(step)) if far else batch(step)
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            recorder.log(loss=loss)
            optimizer.step()
    return open_run(path)


@pytest.mark.parametrize(
    "options",
    [{"every": 1, "filters_every": 1}, {"every": 3, "filters_every": 2}, {"every": 1, "biases": True}],
)
def test_a_device_is_never_waited_for_and_gives_the_same_numbers(tmp_path, monkeypatch, options):
    near = record(tmp_path / "near", far=False, **options)
    monkeypatch.setattr(assembly, "_measuring", lambda layers, exchange: (DeviceMeasure(layers, FAR), DeferredSteps))
    with FarDevice():
        far = record(tmp_path / "far", far=True, snapshots=False, **options)
    for family in ("layers", "filters", "scalars"):
        one, other = getattr(far, family).load(), getattr(near, family).load()
        np.testing.assert_array_equal(one.iteration, other.iteration)
        for name in one.data_vars:
            np.testing.assert_allclose(one[name], other[name], rtol=2e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (lambda one: one[0].item(), "reads values"),
        (lambda one: bool(one.sum() > 3), "reads values"),
        (lambda one: one.cpu(), "to the host"),
        (lambda one: torch.zeros(4).copy_(one), "between host and device"),
        (lambda one: one.copy_(torch.zeros(4)), "between host and device"),
        (lambda one: torch.nonzero(one), "reads values"),
        (lambda one: one[one > 1], "by a mask"),
        (lambda one: one + torch.tensor([1.0, 2.0, 3.0, 4.0], device=FAR), "numbers of Python's"),
        (lambda one: one.repeat_interleave(one.long()), "depends on values"),
    ],
)
def test_the_far_device_finds_out_who_waits(wait, said):
    with FarDevice(), pytest.raises(WaitError, match=said):
        wait(Far(torch.arange(4.0)))


def test_the_far_device_lets_pass_who_does_not_wait():
    with FarDevice():
        one = Far(torch.arange(4.0))
        arrived = torch.empty(4)
        arrived.copy_(one * 2 + torch.ones((), device=FAR), non_blocking=True)
        one[1:3] = torch.inf
    assert arrived.tolist() == [1, 3, 5, 7]
    assert one.near.tolist() == [0, torch.inf, torch.inf, 3]
