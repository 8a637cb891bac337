"""Optimizers that wrap another one: those that only pass on, and those that do something of their own."""

from __future__ import annotations

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch.nn import functional

from deeptracker.tracker.options import plain_optimizers
from tests.tracker.networks import batch, small
from tests.tracker.sessions import assert_recorded, run_twice


class Lookahead(torch.optim.Optimizer):
    """Lets another optimizer go ahead, and then goes a part of the way (Zhang et al. 2019, with one step ahead)."""

    def __init__(self, optimizer, share=0.5):
        super().__init__(optimizer.param_groups, {"lr": 0.1})
        self.optimizer, self.share = optimizer, share

    @torch.no_grad()
    def step(self, closure=None):
        params = [one for group in self.param_groups for one in group["params"]]
        slow = [one.clone() for one in params]
        self.optimizer.step(closure)
        for one, start in zip(params, slow, strict=True):
            one.lerp_(start, 1 - self.share)


class Passing(torch.optim.Optimizer):
    """Passes everything on and has no hooks of its own, like Accelerate's."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def step(self, closure=None):
        return self.optimizer.step(closure)

    def zero_grad(self):
        self.optimizer.zero_grad()


def train(session, wrap):
    model = small()
    optimizer = wrap(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    session.start(model, optimizer)
    for step in range(4):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        session.log(loss)
        optimizer.step()
        session.seen()


def test_what_a_wrapper_does_after_the_inner_step_belongs_to_the_step(tmp_path):
    run, session = run_twice(tmp_path / "run", lambda session: train(session, Lookahead), filters_every=1)
    assert_recorded(run, session)


def test_a_wrapper_that_passes_on_is_seen_through(tmp_path):
    run, session = run_twice(tmp_path / "run", lambda session: train(session, Passing), filters_every=1)
    assert_recorded(run, session)


def test_lightning_wraps_optimizers_with_the_hooks_of_the_inner_one():
    inner = torch.optim.SGD(small().parameters(), lr=0.1)
    assert plain_optimizers(LightningOptimizer(inner)) == [inner]
    assert plain_optimizers([Passing(Passing(inner)), inner]) == [inner, inner]
