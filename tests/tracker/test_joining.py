"""Layers that join a model while it is recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import is_missing
from tests.tracker import oracle
from tests.tracker.networks import batch


class Growing(nn.Module):
    """A network that grows in its middle, so that the new layer is not the last one of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.middle = nn.Sequential()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(self.middle(functional.relu(self.stem(x))).flatten(1))


def grow(model: Growing, optimizer: torch.optim.Optimizer) -> None:
    model.middle.append(nn.Conv2d(4, 4, 3, padding=1))
    optimizer.add_param_group({"params": model.middle[-1].parameters(), "lr": 0.02})


def train(model, optimizer, steps, kept):
    """Train, keeping what every layer was before and is after each step."""
    for step in range(steps):
        x, y = batch(step)
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        before = {name: one.detach().numpy().copy() for name, one in model.named_parameters() if "weight" in name}
        optimizer.step()
        kept.append(
            {
                name.removesuffix(".weight"): oracle.layer(one.detach().numpy(), one.grad.numpy(), before[name])
                for name, one in model.named_parameters()
                if "weight" in name
            }
        )


def assert_kept(run, kept):
    layers = run.layers.load()
    for row, now in enumerate(kept):
        for name in run.layers.layer.values:
            recorded = layers.sel(layer=name).isel(iteration=row)
            if name not in now:
                assert all(is_missing(recorded[one].values[None]).all() for one in layers.data_vars)
                continue
            for statistic in ("weight_l2", "gradient_l2", "relative_change_l2", "weight_median"):
                np.testing.assert_allclose(recorded[statistic], now[name][statistic], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("hooks", [True, False])
def test_a_layer_that_joins_is_recorded_from_then_on(tmp_path, hooks):
    torch.manual_seed(0)
    model, kept = Growing(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"every": 1, "filters_every": 1, "activations": True, "activations_every": 1, "snapshots_every": 2}
    with Recorder(tmp_path / "run", model, optimizer, hooks=hooks, **options) as recorder:

        def steps(count):
            for _ in range(count):
                train(model, optimizer, 1, kept)
                if not hooks:
                    recorder.step()

        steps(3)
        grow(model, optimizer)
        if hooks:
            steps(4)
    run = open_run(tmp_path / "run")
    assert list(run.layers.layer.values) == ["stem", "head", "middle.0"][: 3 if hooks else 2]
    assert_kept(run, kept)
    if hooks:
        assert list(run.snapshots_of("middle.0")) == [1, 2]
        assert list(run.snapshots_of("stem")) == [0, 1, 2]
        activations = run.activations.activation_std.sel(layer="middle.0").values
        assert is_missing(activations[:3]).all()
        assert (activations[4:] > 0).all()
        assert run.filters.sizes["filter"] == 4 + 3 + 4
        [note] = [note for note in run.notes if note["key"] == "layers"]
        assert note["joined"] == ["middle.0"]


def test_a_run_whose_network_grew_is_resumed_and_one_that_grows_meanwhile_too(tmp_path):
    torch.manual_seed(0)
    model, kept = Growing(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for session in range(3):
        with Recorder(tmp_path / "run", model, optimizer, every=1, resume=True):
            train(model, optimizer, 2, kept)
            if session == 0:
                grow(model, optimizer)
                train(model, optimizer, 1, kept)
        if session == 1:
            grow(model, optimizer)
    run = open_run(tmp_path / "run")
    assert list(run.layers.layer.values) == ["stem", "head", "middle.0", "middle.1"]
    assert_kept(run, kept)


def test_a_layer_that_is_replaced_goes_on_under_its_name_unless_its_shape_is_another(tmp_path):
    torch.manual_seed(0)
    model, kept = Growing(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1):
        train(model, optimizer, 2, kept)
        model.head = nn.Linear(64, 3)
        optimizer.add_param_group({"params": model.head.parameters(), "lr": 0.02})
        train(model, optimizer, 2, kept)
        assert_kept_so_far = list(kept)
        model.head = nn.Linear(64, 5)
        optimizer.add_param_group({"params": model.head.parameters(), "lr": 0.02})
        with pytest.raises(RecordingError, match="'head' has changed its shape"):
            train(model, optimizer, 1, kept)
    assert_kept(open_run(tmp_path / "run"), assert_kept_so_far)


def test_growing_changes_nothing_about_the_training(tmp_path):
    ends = []
    for recorded in (False, True):
        torch.manual_seed(0)
        model = Growing()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        recorder = Recorder(tmp_path / "run", model, optimizer, every=1) if recorded else None
        train(model, optimizer, 2, [])
        grow(model, optimizer)
        train(model, optimizer, 2, [])
        if recorder:
            recorder.close()
        ends.append([one.detach().clone() for one in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))
