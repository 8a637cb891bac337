"""Running one training loop twice, with and without the recorder, and keeping what really happened to compare with."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeptracker import Recorder, open_run
from deeptracker.data_model.run import Run
from tests.tracker.test_recorder import assert_layers, watch


class Session:
    """What a loop under test talks to: a recorder or, without a path, nothing; and a witness of every iteration."""

    def __init__(self, path: Path | None, **options: Any) -> None:
        self.recorder: Recorder | None = None
        self.kept: list[dict[str, dict[str, np.ndarray | None]]] = []
        self.losses: list[float] = []
        self._path, self._options = path, options

    def start(self, model: nn.Module, optimizers: Any, watched: nn.Module | None = None, **options: Any) -> None:
        """Attach the recorder; `watched` is the plain model where `model` is a wrapper of it."""
        self._model, self._look = model, watch(model if watched is None else watched, self.kept)
        self._look(-1)
        if self._path is not None:
            self.recorder = Recorder(self._path, model, optimizers, **{"every": 1, **self._options, **options})

    def log(self, loss: Tensor) -> None:
        self.losses.append(loss.item())
        if self.recorder:
            self.recorder.log(loss=loss)

    def step(self) -> None:
        """Record by hand, for loops that set hooks=False."""
        if self.recorder:
            self.recorder.step()

    def seen(self) -> None:
        """Keep the weights and gradients as they are now: the iteration has just ended."""
        self._look(0)

    def outcome(self) -> dict[str, Any]:
        """Return everything that recording must not change."""
        state = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        numpy_state = np.random.get_state()
        draws = [torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2], random.getstate()]
        return {"losses": self.losses, "random": draws, "state": state}


Loop = Callable[[Session], None]


def run_twice(path: Path, loop: Loop, **options: Any) -> tuple[Run, Session]:
    """Run a loop without and with the recorder, assert that nothing differs, and return the run and its witness."""
    outcomes = []
    for where in (None, path):
        torch.manual_seed(11)
        np.random.seed(11)
        random.seed(11)
        session = Session(where, **options)
        loop(session)
        outcomes.append(session.outcome())
        if session.recorder:
            session.recorder.close()
    assert_same(*outcomes)
    return open_run(path), session


def assert_same(plain: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Assert that two outcomes are the same to the bit, NaN included."""
    assert np.array_equal(plain["losses"], recorded["losses"], equal_nan=True)
    assert plain["random"] == recorded["random"]
    assert plain["state"].keys() == recorded["state"].keys()
    for name, value in plain["state"].items():
        assert torch.equal(value, recorded["state"][name]), f"recording changed {name}"


def assert_recorded(run: Run, session: Session, iterations: Iterable[int] | None = None) -> None:
    """Assert that every statistic of every iteration is what the witness saw."""
    expected = range(len(session.kept) - 1) if iterations is None else list(iterations)
    assert len(expected), "a loop without iterations proves nothing"
    assert_layers(run, session.kept, expected)
