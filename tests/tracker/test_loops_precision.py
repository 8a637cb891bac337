"""Loops of mixed and low precision: what is recorded is what the optimizer worked with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.tracker.networks import Mixed, batch, trainable
from tests.tracker.sessions import Session, assert_recorded, run_twice


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("every", [1, 2])
def test_gradient_scaling_records_unscaled_gradients_and_leaves_skipped_steps_out(tmp_path, fused, every):
    def loop(session: Session) -> None:
        model = Mixed()
        optimizer = torch.optim.Adam(trainable(model), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
        session.start(model, optimizer)
        for step in range(7):
            x, y = batch(step)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            if step in (0, 3):
                model.head.weight.grad[0, 0] = torch.inf
            session.log(loss)
            scaler.step(optimizer)
            scaler.update()
            if step not in (0, 3):
                session.seen()

    run, session = run_twice(tmp_path / "run", loop, every=every, filters_every=every)
    assert_recorded(run, session, range(0, 5, every))
    assert run.scalars.sizes["iteration"] == 5
    # What was logged at a skipped step goes with the next one.
    losses = [np.mean(session.losses[:2]), session.losses[2], np.mean(session.losses[3:5]), *session.losses[5:]]
    np.testing.assert_allclose(run.scalars.loss, losses)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_weights_and_gradients_in_full_precision(tmp_path, dtype):
    def loop(session: Session) -> None:
        model = Mixed()
        optimizer = torch.optim.SGD(trainable(model), lr=0.05, momentum=0.9)
        session.start(model, optimizer)
        for step in range(4):
            x, y = batch(step)
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = functional.cross_entropy(model(x), y)
            loss.backward()
            session.log(loss)
            optimizer.step()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    np.testing.assert_array_equal(run.scalars.loss, session.losses)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_precision(tmp_path, dtype):
    def loop(session: Session) -> None:
        model = Mixed().to(dtype)
        optimizer = torch.optim.SGD(trainable(model), lr=0.05)
        session.start(model, optimizer)
        for step in range(4):
            x, y = batch(step)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x.to(dtype)), y)
            loss.backward()
            session.log(loss)
            optimizer.step()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)


def test_master_weights_are_recorded_as_the_network_has_them_by_hand(tmp_path):
    """The optimizer steps copies in full precision; the network's own weights follow after the step."""

    def loop(session: Session) -> None:
        model = Mixed().bfloat16()
        params = trainable(model)
        masters = [one.detach().float().clone() for one in params]
        optimizer = torch.optim.SGD(masters, lr=1e-3)
        session.start(model, optimizer, hooks=False)
        for step in range(4):
            x, y = batch(step)
            model.zero_grad()
            loss = functional.cross_entropy(model(x.bfloat16()), y)
            loss.backward()
            session.log(loss)
            for master, one in zip(masters, params, strict=True):
                master.grad = one.grad.float()
            optimizer.step()
            with torch.no_grad():
                for master, one in zip(masters, params, strict=True):
                    one.copy_(master)
            session.step()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    # The limit of it: bfloat16 keeps 8 bits, so a weight moves by about 1/256 of itself or not at all.
    share = run.layers["change_above_1e-6"].sel(layer="head") - run.layers["change_above_1e-3"].sel(layer="head")
    assert (share == 0).all()


def test_an_optimizer_of_other_tensors_than_the_models_is_pointed_out(tmp_path):
    from deeptracker import Recorder

    model = Mixed().bfloat16()
    masters = [one.detach().float().clone() for one in model.parameters()]
    with (
        pytest.warns(RuntimeWarning, match="none of the model's parameters"),
        Recorder(tmp_path / "run", model, torch.optim.SGD(masters, lr=1e-3)),
    ):
        pass


def test_a_model_that_changes_its_precision_in_mid_training(tmp_path):
    def loop(session: Session) -> None:
        model = Mixed()
        optimizer = torch.optim.SGD(trainable(model), lr=0.05)
        session.start(model, optimizer)
        for step, dtype in enumerate([torch.float32, torch.bfloat16, torch.bfloat16, torch.float64, torch.float32]):
            model.to(dtype)
            x, y = batch(step)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x.to(dtype)), y)
            loss.backward()
            session.log(loss)
            optimizer.step()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    layers = run.layers.load()
    for step, kept in enumerate(session.kept[1:]):
        for name, now in kept.items():
            at = layers.isel(iteration=step).sel(layer=name)
            np.testing.assert_allclose(at.weight_l2, np.sqrt((now["weight"] ** 2).sum()), rtol=1e-5)
            if now["gradient"] is not None:
                np.testing.assert_allclose(at.gradient_l2, np.sqrt((now["gradient"] ** 2).sum()), rtol=1e-5)
