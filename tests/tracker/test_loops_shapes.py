"""Loops that step in unusual ways: closures, several optimizers at several paces, inside of backward, compiled."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.tracker.networks import Mixed, batch, small, trainable
from tests.tracker.sessions import assert_recorded, run_twice


def usual(session, model, optimizer, *, compute=None, steps=5, before_step=None, **options):
    """Train in the usual way; `compute` is the model as the loop calls it, `before_step` comes after backward."""
    session.start(model, optimizer, **options)
    for step in range(steps):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = functional.cross_entropy((compute or model)(x), y)
        loss.backward()
        session.log(loss)
        if before_step:
            before_step()
        optimizer.step()
        session.seen()


@pytest.mark.parametrize("every", [1, 2])
def test_a_closure_that_runs_several_times_is_one_iteration(tmp_path, every):
    def loop(session):
        model = Mixed().eval()
        optimizer = torch.optim.LBFGS(trainable(model), max_iter=3, lr=0.1)
        session.start(model, optimizer)
        for step in range(4):
            x, y = batch(step)

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                session.log(loss)
                return loss

            optimizer.step(closure)
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, every=every, filters_every=every)
    assert_recorded(run, session, range(0, 4, every))
    # What is logged within the closure belongs to the iteration: one mean each.
    assert run.scalars.sizes["iteration"] == 4
    assert len(session.losses) > 8
    assert run.scalars.loss.values.min() >= min(session.losses)


@pytest.mark.parametrize("every", [1, 2])
def test_a_generator_and_its_faster_critic(tmp_path, every):
    """An iteration ends with the step of the last optimizer; the critic's change is that of all its steps in it."""

    def loop(session):
        generator, critic = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        fast = torch.optim.Adam(critic.parameters(), lr=0.01)
        slow = torch.optim.Adam(generator.parameters(), lr=0.02)
        both = nn.ModuleDict({"generator": generator, "critic": critic})
        session.start(both, [fast, slow])
        for _ in range(4):
            for _ in range(3):
                fast.zero_grad()
                fake, real = generator(torch.randn(8, 3)).detach(), torch.randn(8, 4)
                (critic(fake).mean() - critic(real).mean()).backward()
                fast.step()
            slow.zero_grad()
            critic.requires_grad_(False)
            loss = -critic(generator(torch.randn(8, 3))).mean()
            loss.backward()
            critic.requires_grad_(True)
            session.log(loss)
            slow.step()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, every=every, filters_every=every)
    assert_recorded(run, session, range(0, 4, every))
    assert run.scalars.sizes["iteration"] == 4
    assert run.scalars["learning_rate/1"].values.tolist() == [0.02] * 4


@pytest.mark.parametrize("every", [1, 3])
def test_an_optimizer_inside_of_backward(tmp_path, every):
    """One optimizer for each parameter steps as soon as its gradient is there, and drops the gradient at once."""

    def loop(session):
        model = Mixed().eval()
        optimizers = {one: torch.optim.SGD([one], lr=0.05, momentum=0.9) for one in trainable(model)}
        gradients = {}

        def step_now(parameter):
            gradients[parameter] = parameter.grad.clone()
            optimizers[parameter].step()
            optimizers[parameter].zero_grad()

        for one in optimizers:
            one.register_post_accumulate_grad_hook(step_now)
        session.start(model, list(optimizers.values())[:1], hooks=False)
        for step in range(7):
            x, y = batch(step)
            loss = functional.cross_entropy(model(x), y)
            session.log(loss)
            loss.backward()
            assert all(one.grad is None for one in optimizers)
            session.step()
            for one, gradient in gradients.items():
                one.grad = gradient
            session.seen()
            model.zero_grad()

    run, session = run_twice(tmp_path / "run", loop, every=every, filters_every=every)
    assert_recorded(run, session, range(0, 7, every))
    assert run.scalars.learning_rate.values.tolist() == [0.05] * 7


def test_gradients_that_are_dropped_before_the_step_by_hand(tmp_path):
    """A loop that clears gradients right after the optimizer's step, and only then calls step()."""

    def loop(session):
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer, hooks=False)
        for step in range(3):
            x, y = batch(step)
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            session.log(loss)
            optimizer.step()
            session.seen()
            optimizer.zero_grad()
            session.step()

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)


# Inductor builds its kernels with a C++ compiler and Python's own headers.
COMPILER = shutil.which("g++") and (Path(sysconfig.get_path("include")) / "Python.h").exists()
BACKENDS = [
    "eager",
    "aot_eager",
    pytest.param("inductor", marks=pytest.mark.skipif(not COMPILER, reason="inductor needs a C++ compiler")),
]


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiling(test):
    """Mark a test that compiles; the compiler looks at deprecated functions, and at gradients of what is no leaf."""
    for message in ("ignore:.torch.jit:DeprecationWarning", "ignore:The .grad attribute of a Tensor:UserWarning"):
        test = pytest.mark.filterwarnings(message)(test)
    return pytest.mark.usefixtures("fresh_compiler")(test)


@compiling
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_model(tmp_path, backend):
    def loop(session):
        model = small().eval()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        usual(session, torch.compile(model, backend=backend), optimizer, watched=model)

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    assert [layer.name for layer in run.layer_list] == ["0", "4"]
    assert run.description.model == "Sequential"


@compiling
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_optimizer_step(tmp_path, backend, every):
    def loop(session):
        model = small().eval()
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
        session.start(model, optimizer)
        step_compiled = torch.compile(optimizer.step, backend=backend)
        for step in range(5):
            x, y = batch(step)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            session.log(loss)
            step_compiled()
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, every=every, filters_every=every)
    assert run.scalars.sizes["iteration"] == 5
    assert_recorded(run, session, range(0, 5, every))
    np.testing.assert_allclose(run.scalars.learning_rate, 0.01)


@compiling
def test_a_compiled_training_step_breaks_around_the_recorder_and_compiles_nothing_anew(tmp_path):
    graphs = []

    def loop(session):
        model = small().eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        session.start(model, optimizer)

        @torch.compile(backend="eager")
        def train(x, y):
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            if session.recorder:
                session.recorder.log(loss=loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            return loss.detach()

        for step in range(6):
            session.losses.append(train(*batch(step)).item())
            graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    run, session = run_twice(tmp_path / "run", loop)
    np.testing.assert_array_equal(run.scalars.loss, session.losses)
    assert (run.layers.relative_change_l2 > 0).all()
    # Once momentum is there nothing is compiled any more, with the recorder (the second half) as without it.
    assert graphs[3] == graphs[5]
    assert graphs[9] == graphs[11]


def test_clipping_and_a_learning_rate_in_a_tensor(tmp_path):
    def loop(session):
        model = Mixed()
        optimizer = torch.optim.SGD(trainable(model), lr=torch.tensor(0.05))
        usual(session, model, optimizer, before_step=lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.1))

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    total = np.sqrt((run.layers.gradient_l2.fillna(0) ** 2).sum("layer"))
    assert (total < 0.1 + 1e-6).all()
    np.testing.assert_allclose(run.scalars.learning_rate, 0.05)
