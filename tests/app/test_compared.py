"""Runs laid over the one shown: opened by their key, drawn over its timeline, and by how far they differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeptracker.app.compared import MOST, CompareButton, difference_timeline
from deeptracker.app.crumbs import Crumbs, parts
from deeptracker.app.overview import Overview
from deeptracker.app.session import Session
from deeptracker.app.window_box import WindowBox
from deeptracker.data_model.errors import NotARunError
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.writer import RunWriter
from tests.planted import LAYERS, STATISTICS, Description

MakeRun = Callable[..., Path]


def record(path: Path, losses: np.ndarray) -> Run:
    """Record a run of nothing but a loss."""
    writer = RunWriter.create(path, Description(path.name, "net"), LAYERS, STATISTICS, [])
    writer.append_scalars(np.arange(len(losses)), {"loss": losses})
    writer.close()
    return open_run(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = 0.01 * np.random.default_rng(0).normal(size=(3, 800))
    record(tmp_path / "base", 1.0 + noise[0])
    record(tmp_path / "higher", 1.5 + noise[1])
    record(tmp_path / "longer", np.concatenate([1 + noise[2], np.full(800, 0.5)]))
    return tmp_path


@pytest.fixture
def session(folder: Path) -> Session:
    def find(key: str) -> Run:
        if not (folder / key).exists():
            raise NotARunError(f"There is no run {key!r}.")
        return open_run(folder / key)

    return Session(open_run(folder / "base"), find=find)


def test_picked_runs_are_opened_once_and_bad_ones_say_why(session: Session) -> None:
    session.selection.runs = ["higher", "nowhere"]
    higher, nowhere = session.compared.others
    assert (higher.name, higher.problem, nowhere.run) == ("higher", "", None)
    assert "no run 'nowhere'" in nowhere.problem
    session.selection.runs = ["nowhere", "higher"]
    assert session.compared.others[1].run is higher.run
    session.selection.runs = [f"none-{number}" for number in range(MOST + 5)]
    assert len(session.compared.others) == MOST


def test_without_a_library_none_is_found(folder: Path) -> None:
    session = Session(open_run(folder / "base"))
    session.selection.runs = ["higher"]
    assert "served folders" in session.compared.others[0].problem


def test_the_difference_is_what_was_put_in(folder: Path) -> None:
    base, higher, longer = (open_run(folder / name) for name in ("base", "higher", "longer"))
    found = difference_timeline(base, higher)
    assert found.mean == pytest.approx(0.5, abs=0.04)
    assert (found.low <= found.mean).all()
    assert (found.high > found.mean).any()
    beyond = difference_timeline(base, longer)
    assert beyond.x.max() < 800  # only what both have
    assert beyond.mean == pytest.approx(0, abs=0.04)


def test_the_timeline_draws_over_each_other_and_then_the_difference(session: Session) -> None:
    strip = Overview(session, WindowBox(session.axes))
    alone = strip.figure.y_range.end
    session.selection.runs = ["higher"]
    strip.update()
    assert strip._others[0].data["mean"] == pytest.approx(1.5, abs=0.1)
    assert len(strip._others[1].data["x"]) == 0
    assert strip.figure.y_range.end > alone + 0.3
    assert not strip.outgrown()
    session.selection.difference = True
    assert strip.outgrown()
    apart = Overview(session, WindowBox(session.axes))
    assert apart._others[0].data["mean"] == pytest.approx(0.5, abs=0.04)
    assert not np.any(apart._training.data["mean"])
    session.selection.runs = []
    assert apart.outgrown()


def test_each_has_a_crumb_that_lets_go_of_it_alone(session: Session) -> None:
    crumbs, button = Crumbs(session), CompareButton(session.selection)
    assert not button.button.visible
    session.selection.runs = ["higher", "nowhere"]
    assert button.button.visible
    words = {key: words for key, words, _ in parts(session.selection, session.window, {"higher": "with higher"})}
    assert words == {"run higher": "with higher"}
    assert list(crumbs._chips) == ["run higher", "run nowhere"]
    crumbs._release("run higher")(None)
    assert session.selection.runs == ["nowhere"]
    button.button.value = True
    assert session.selection.difference
    session.selection.reset()
    assert (button.button.visible, button.button.value, crumbs._chips) == (False, False, {})
