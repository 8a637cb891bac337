"""Statistics of what layers put out, against plain numpy on the outputs themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import is_missing
from tests.tracker.networks import batch, small, train


def expected(outputs: list[np.ndarray], channels_second: bool) -> tuple[float, float, float]:
    """Mean, standard deviation and dead share of outputs, over several passes together."""
    values = np.concatenate([one.astype(np.float64).ravel() for one in outputs])
    unit = 1 if channels_second else -1
    alive = np.zeros(outputs[0].shape[unit], bool)
    for one in outputs:
        alive |= (np.moveaxis(one, unit, 0).reshape(len(alive), -1) > 0).any(axis=1)
    return float(values.mean()), float(values.std()), float(1 - alive.mean())


def record(path, model, steps, micro=1, **options):
    """Train, and return what the convolution and the linear layer put out at every step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[dict[int, list[np.ndarray]]] = []
    handles = [
        model[n].register_forward_hook(lambda _m, _i, out, n=n: seen[-1][n].append(out.detach().numpy().copy()))
        for n in (0, 4)
    ]
    with Recorder(path, model, optimizer, every=1, **options) as recorder:
        for step in range(steps):
            seen.append({0: [], 4: []})
            optimizer.zero_grad()
            for part in range(micro):
                x, y = batch(10 * step + part)
                functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                # What a validation puts out is not looked at.
                seen.append({0: [], 4: []})
                model(100 * batch(999)[0])
                seen.pop()
        assert recorder.iteration == steps
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize(("micro", "every"), [(1, 1), (3, 1), (2, 3)])
def test_mean_spread_and_dead_share_of_every_training_pass(tmp_path, micro, every):
    torch.manual_seed(0)
    model = small()
    with torch.no_grad():
        model[0].bias[1] = -100.0
    seen = record(tmp_path / "run", model, 7, micro, activations=True, activations_every=every)
    found = open_run(tmp_path / "run").activations.load()
    np.testing.assert_array_equal(found.iteration, range(0, 7, every))
    for row, step in enumerate(range(0, 7, every)):
        for layer, number in enumerate((0, 4)):
            mean, std, dead = expected(seen[step][number], channels_second=number == 0)
            now = found.isel(iteration=row, layer=layer)
            assert float(now.activation_mean) == pytest.approx(mean, rel=1e-4, abs=1e-6)
            assert float(now.activation_std) == pytest.approx(std, rel=1e-4)
            assert float(now.activation_dead) == pytest.approx(dead)
    assert float(found.activation_dead[0, 0]) == 0.25


def test_only_the_chosen_layers_are_looked_at(tmp_path):
    model = small()
    record(tmp_path / "run", model, 3, activations=["4"], activations_every=1)
    run = open_run(tmp_path / "run")
    assert is_missing(run.activations.activation_mean.values[:, 0]).all()
    assert not np.isnan(run.activations.activation_mean.values[:, 1]).any()
    assert not model[4]._forward_hooks
    assert run.query("activation_std", layers=["4"]).sizes["layer"] == 1


def test_what_does_not_exist_cannot_be_chosen(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RecordingError, match="activations names 'conv', which is no layer or block"):
        Recorder(tmp_path / "run", model, optimizer, activations="conv")
    with (
        Recorder(tmp_path / "run", model, optimizer) as recorder,
        pytest.raises(RecordingError, match="without activations"),
    ):
        recorder.schedule(activations_every=3)


def test_outputs_that_are_not_finite_are_told_as_such(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with Recorder(tmp_path / "run", model, optimizer, every=1, activations=["0"], activations_every=1):
        model(torch.tensor([[torch.inf, 1.0]])).sum().backward()
        optimizer.step()
    value = open_run(tmp_path / "run").activations.activation_mean.values
    assert np.isnan(value[0, 0])
    assert not is_missing(value[:, 0]).any()


def test_attention_and_recurrent_layers_give_tuples(tmp_path):
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.memory = nn.LSTM(4, 3, batch_first=True)

        def forward(self, x):
            return self.memory(self.attention(x, x, x)[0])[0].sum()

    model = Sequence()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, activations=True, activations_every=1):
        model(torch.randn(2, 5, 4)).backward()
        optimizer.step()
    found = open_run(tmp_path / "run").activations.activation_std.load()
    assert float(found.sel(layer="memory.weight_ih_l0")[0]) > 0
    assert float(found.sel(layer="attention.in_proj_weight")[0]) > 0


def test_looking_at_activations_changes_nothing(tmp_path):
    losses = []
    for activations in (False, True):
        torch.manual_seed(3)
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        path = tmp_path / str(activations)
        with Recorder(path, model, optimizer, every=1, activations=activations, activations_every=1):
            losses.append(train(model, optimizer, 5))
    assert losses[0] == losses[1]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler's own look
def test_a_compiled_model_is_looked_at_too(tmp_path):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    model = torch.compile(plain, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    outputs = []
    with Recorder(tmp_path / "run", model, optimizer, every=1, activations=True, activations_every=2):
        for step in range(4):
            x, y = batch(step)
            outputs.append(plain[0](x).mean().item())
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    found = open_run(tmp_path / "run").activations
    np.testing.assert_allclose(found.activation_mean.sel(layer="0"), outputs[::2], rtol=1e-4)
