"""Parameters that are shared, frozen, thawed, replaced, parametrised or added in mid-training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from tests.tracker import oracle
from tests.tracker.networks import Mixed, batch, small, trainable
from tests.tracker.sessions import assert_recorded, run_twice


def steps(session, model, optimizer, count, *, first=0, compute=None, after=None):
    """Take `count` usual training steps."""
    for step in range(first, first + count):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = functional.cross_entropy((compute or model)(x), y)
        loss.backward()
        session.log(loss)
        optimizer.step()
        if after:
            after()
        session.seen()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("every", [1, 2])
def test_shared_and_frozen_parameters_in_both_memory_layouts(tmp_path, layout, every):
    def loop(session):
        model = Mixed().to(memory_format=layout)
        optimizer = torch.optim.AdamW(trainable(model), lr=0.01)
        session.start(model, optimizer)
        steps(session, model, optimizer, 5)

    run, session = run_twice(tmp_path / "run", loop, every=every, filters_every=every)
    assert_recorded(run, session, range(0, 5, every))
    assert np.isnan(run.layers.gradient_l2.sel(layer="frozen")).all()
    assert "second" not in run.layers.layer


def test_layers_that_freeze_and_thaw_and_groups_that_come_later(tmp_path):
    def loop(session):
        model = small()
        model[0].requires_grad_(False)
        optimizer = torch.optim.SGD(model[4].parameters(), lr=0.1)
        session.start(model, optimizer)
        steps(session, model, optimizer, 2)
        model[0].requires_grad_(True)
        optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.02})
        steps(session, model, optimizer, 2, first=2)
        model[4].requires_grad_(False)
        steps(session, model, optimizer, 2, first=4)

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    np.testing.assert_array_equal(np.isnan(run.layers.gradient_l2.sel(layer="0")), [True] * 2 + [False] * 4)
    np.testing.assert_array_equal(run.scalars["learning_rate/1"], [np.nan, np.nan, *[0.02] * 4])


def test_weights_that_are_replaced_by_a_checkpoint(tmp_path):
    """`load_state_dict(assign=True)` and a new optimizer group: the old tensors are gone, the layer goes on."""

    def loop(session):
        model = small().eval()
        saved = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer)
        steps(session, model, optimizer, 2)
        model.load_state_dict({name: 2 * value for name, value in saved.items()}, assign=True)
        optimizer.param_groups[0]["params"] = list(model.parameters())
        optimizer.state.clear()
        session.seen()
        steps(session, model, optimizer, 2, first=2)

    run, session = run_twice(tmp_path / "run", loop, every=2, filters_every=2)
    kept = session.kept
    # Iterations 0 and 2: what was loaded in between is not what a step changed.
    session.kept = [kept[0], kept[1], kept[3], kept[4]]
    assert_recorded(run, session, [0, 2])


@pytest.mark.parametrize("every", [1, 2])
def test_weights_that_are_clipped_or_swapped_between_steps_are_no_change_of_a_step(tmp_path, every):
    """As adversarial training clips, and as averaged weights are swapped in: before the step, not by it."""

    def loop(session):
        model = small().eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer, filters_every=every)
        for step in range(4):
            steps(session, model, optimizer, 1, first=step)
            with torch.no_grad():
                model[0].weight.mul_(1.5)
            # The witness sees every step twice: what the loop has made of the weights, and what the step then does.
            session.seen()

    run, session = run_twice(tmp_path / "run", loop, every=every)
    layers = run.layers.load()
    for row, iteration in enumerate(range(0, 4, every)):
        # kept: before the first step, then after each step and after each change of the loop.
        before, after = session.kept[2 * iteration], session.kept[2 * iteration + 1]
        for name in ("0", "4"):
            change = oracle.change(after[name]["weight"], before[name]["weight"])
            at = layers.isel(iteration=row).sel(layer=name)
            np.testing.assert_allclose(at.relative_change_l2, change["relative_change_l2"], rtol=1e-4)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(tmp_path, reentrant):
    def loop(session):
        model = small().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer)

        def compute(x):
            return checkpoint(model, x.requires_grad_(), use_reentrant=reentrant)

        steps(session, model, optimizer, 4, compute=compute)

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    np.testing.assert_array_equal(run.scalars.loss, session.losses)


def test_an_averaged_copy_and_stochastic_weight_averaging_beside_the_model(tmp_path):
    def loop(session):
        model = small()
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer)
        steps(session, model, optimizer, 4, after=lambda: averaged.update_parameters(model))
        session.losses.append(float(averaged.module[0].weight.detach().sum()))

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)


@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrised_weights_are_recorded_as_what_the_optimizer_steps(tmp_path, parametrize):
    originals = []

    def loop(session):
        model = small()
        parametrize(model[0])
        parametrize(model[4])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer, watched=nn.ModuleList())
        originals.clear()
        steps(session, model, optimizer, 3)
        named = dict(model[4].parametrizations.weight.named_parameters())
        originals.extend(float(torch.linalg.vector_norm(one.detach())) for one in named.values())

    run, _ = run_twice(tmp_path / "run", loop, filters_every=1)
    last = run.layers.isel(iteration=-1)
    own = [name for name in last.layer.values if name.startswith("4")]
    np.testing.assert_allclose(sorted(last.weight_l2.sel(layer=own)), sorted(originals), rtol=1e-5)
    assert (last.relative_change_l2 > 0).all()


def test_data_parallel_names_its_layers_like_the_model(tmp_path):
    def loop(session):
        model = small()
        wrapped = nn.DataParallel(model)
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
        session.start(wrapped, optimizer, watched=model)
        steps(session, model, optimizer, 3, compute=wrapped)

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)


class ScheduleFree(torch.optim.Optimizer):
    """SGD that keeps its weights elsewhere, as schedule-free optimizers do: parameters hold a mean between steps."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr, "k": 0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] += 1
            for one in group["params"]:
                fast = self.state[one].setdefault("z", one.clone())
                fast.sub_(one.grad, alpha=float(group["lr"]))
                one.lerp_(fast, 1 / group["k"])


def test_an_optimizer_that_keeps_its_weights_elsewhere(tmp_path):
    def loop(session):
        model = small()
        optimizer = ScheduleFree(model.parameters(), lr=torch.tensor(0.1))
        session.start(model, optimizer)
        steps(session, model, optimizer, 4)

    run, session = run_twice(tmp_path / "run", loop, filters_every=1)
    assert_recorded(run, session)
    np.testing.assert_allclose(run.scalars.learning_rate, 0.1)


def test_training_goes_on_when_a_layer_is_added_late(tmp_path):
    def loop(session):
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        session.start(model, optimizer, watched=nn.ModuleList([model[0], model[4]]))
        steps(session, model, optimizer, 2)
        model.append(nn.Linear(3, 3))
        optimizer.add_param_group({"params": model[5].parameters()})
        steps(session, model, optimizer, 2, first=2)

    run, _ = run_twice(tmp_path / "run", loop, filters_every=1)
    assert run.scalars.sizes["iteration"] == 4
    assert (run.layers.relative_change_l2.sel(layer=["0", "4"]) > 0).all()
