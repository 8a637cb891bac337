"""Loops that Accelerate prepares: wrapped optimizers, accumulated gradients, mixed precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from deeptracker import Recorder, open_run
from deeptracker.tracker.integrations.accelerate import prepared_recorder
from tests.tracker.networks import small
from tests.tracker.test_recorder import assert_layers, watch


@pytest.fixture(autouse=True)
def fresh_state():
    """Accelerate keeps its settings in singletons; every test has its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def train(path, adapter=True, accumulate=1, **options):
    """Train the way Accelerate's own examples do; return losses, witnesses and the model."""
    torch.manual_seed(0)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate, **options)
    random = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(48, 1, 6, 6, generator=random), torch.arange(48) % 3)
    plain = small()
    model, optimizer, loader = accelerator.prepare(
        plain, torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9), DataLoader(data, batch_size=8)
    )
    losses, kept = [], []
    look = watch(plain, kept)
    look(-1)
    recorder = None
    if path and adapter:
        recorder = prepared_recorder(accelerator, path, model, optimizer, every=1, filters_every=1)
    elif path:
        recorder = Recorder(path, model, [optimizer], every=1, filters_every=1)
    for x, y in loader:
        with accelerator.accumulate(model):
            loss = functional.cross_entropy(model(x), y)
            accelerator.backward(loss)
            if recorder:
                recorder.log(loss=loss)
            losses.append(loss.item())
            optimizer.step()
            if accelerator.sync_gradients:
                look(0)
            optimizer.zero_grad()
    if recorder:
        recorder.close()
    return losses, kept, plain.state_dict()


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"mixed_precision": "bf16"}, {"adapter": False}])
def test_a_prepared_loop_is_recorded_and_not_changed(tmp_path, options):
    losses, _, weights = train(None, **options)
    recorded, kept, after = train(tmp_path / "run", **options)
    assert recorded == losses
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    run = open_run(tmp_path / "run")
    each = options.get("accumulate", 1)
    assert_layers(run, kept, range(6 // each))
    np.testing.assert_allclose(run.scalars.loss, np.reshape(losses, (-1, each)).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(run.scalars.learning_rate, 0.1)
    if options.get("adapter", True):
        assert dict(run.description.parameters) == {"mixed_precision": options.get("mixed_precision", "no")}
