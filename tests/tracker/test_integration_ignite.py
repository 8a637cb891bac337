"""The Ignite handler on real engines: losses and steps of each iteration, validations, and engines that fail."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional

from deeptracker import open_run
from tests.tracker.networks import batch, small
from tests.tracker.test_recorder import assert_layers, watch

with warnings.catch_warnings():
    # Ignite compiles parts of itself in a way that torch deprecates.
    warnings.filterwarnings("ignore", ".torch.jit", DeprecationWarning)
    from ignite.engine import Engine, Events, create_supervised_trainer

    from deeptracker.tracker.integrations.ignite import RecorderHandler

BATCHES = 6


def train(path, accumulate=1, amp=None, scaler=None):
    """Train two epochs with Ignite's own trainer; return losses, witnesses and the weights."""
    torch.manual_seed(0)
    model, losses, kept = small(), [], []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = create_supervised_trainer(
        model, optimizer, functional.cross_entropy, gradient_accumulation_steps=accumulate, amp_mode=amp, scaler=scaler
    )
    look = watch(model, kept)
    look(-1)
    if path:
        RecorderHandler(path, model, optimizer, every=1, filters_every=1).attach(trainer)
    optimizer.register_step_post_hook(lambda *_: look(0))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.run([batch(number) for number in range(BATCHES)], max_epochs=2)
    return losses, kept, model.state_dict()


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}])
def test_an_engine_is_recorded_and_not_changed(tmp_path, options):
    losses, _, weights = train(None, **options)
    recorded, kept, after = train(tmp_path / "run", **options)
    assert recorded == losses
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    run = open_run(tmp_path / "run")
    each = options.get("accumulate", 1)
    assert_layers(run, kept, range(2 * BATCHES // each))
    np.testing.assert_allclose(run.scalars.loss, np.reshape(losses, (-1, each)).mean(axis=1), rtol=1e-6)
    assert run.state == "closed"


def test_an_evaluator_is_recorded_as_validations(tmp_path):
    model = small().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(model, optimizer, functional.cross_entropy)
    seen = []

    def evaluate(_engine, part):
        with torch.no_grad():
            seen.append(model(part[1]))
        return seen[-1]

    evaluator = Engine(evaluate)
    handler = RecorderHandler(tmp_path / "run", model, optimizer, every=1)
    handler.attach(trainer)
    handler.attach_validation(evaluator, lambda part, logits: (part[0], logits, part[2]))
    parts = [([f"{number}-{image}" for image in range(8)], *batch(100 + number)) for number in range(2)]
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(parts))
    trainer.run([batch(number) for number in range(BATCHES)], max_epochs=2)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.validation.iteration, [BATCHES, 2 * BATCHES])
    places = {name: place for place, name in enumerate(name for ids, _, _ in parts for name in ids)}
    order = [places[name] for name in run.validation.image.values]
    predicted = torch.cat(seen).argmax(1).reshape(2, 16).numpy()
    np.testing.assert_array_equal(run.validation.predicted, predicted[:, order])


@pytest.mark.parametrize("handled", [False, True])
def test_an_engine_that_fails_closes_the_run_and_fails_as_before(tmp_path, handled):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(model, optimizer, functional.cross_entropy)
    errors = []
    if handled:
        trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda _engine, error: errors.append(error))
    RecorderHandler(tmp_path / "run", model, optimizer, every=1).attach(trainer)
    data = [batch(0), batch(1), (torch.zeros(2, 5), torch.zeros(2))]
    if handled:
        trainer.run(data)
        assert len(errors) == 1
    else:
        with pytest.raises(RuntimeError):
            trainer.run(data)
    run = open_run(tmp_path / "run")
    assert run.state == "closed"
    assert run.scalars.sizes["iteration"] == 2
