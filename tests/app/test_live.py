"""How fresh a page is said to be, the line above a run that cannot be read, and staying with the newest iterations."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deeptracker.app.banner import Banner
from deeptracker.app.follow import Follow
from deeptracker.app.live import LATE_SECONDS, Live, freshness
from deeptracker.app.session import Session
from deeptracker.data_model.errors import RunReplacedError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.writer import RunWriter
from tests.planted import extend_planted, write_planted


@pytest.mark.parametrize(
    ("state", "age", "expected"),
    [
        ("recording", 2, ("recording", "live, iteration 12,345, 2 s ago")),
        ("recording", LATE_SECONDS + 25, ("waiting", "stalled for 45 s at iteration 12,345")),
        ("interrupted", 45, ("interrupted", "interrupted 45 s ago")),
        ("closed", 45, ("closed", "finished 45 s ago")),
    ],
)
def test_the_words(state: str, age: float, expected: tuple[str, str]) -> None:
    found = freshness(state, 1000.0, 1000.0 + age, 12_345)
    assert (found.state, found.words) == expected
    assert found.explained


def test_a_run_without_an_iteration_names_none() -> None:
    assert freshness("recording", 0, 2).words == "live, 2 s ago"


def test_what_always_comes_seldom_has_not_stalled() -> None:
    assert freshness("recording", 0, 100, 5, late=120).state == "recording"


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[RunWriter, Path]:
    return write_planted(tmp_path / "run", 300), tmp_path / "run"


def test_the_mark_goes_with_the_run(recorded: tuple[RunWriter, Path]) -> None:
    writer, path = recorded
    live = Live(Session(open_run(path)))
    assert live.freshness.words.startswith("live, iteration 299, ")
    extend_planted(writer, 300, 360)
    live.look(refresh=True)
    assert live.freshness.words.startswith("live, iteration 359, ")
    writer.close()
    live.look(refresh=True)
    assert live.freshness.state == "closed"


def test_gaps_are_learned_from_the_run(recorded: tuple[RunWriter, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    writer, path = recorded
    live = Live(Session(open_run(path)))
    live._committed = [live._committed[0] - 60]  # the commit before was a minute ago
    later = time.time() + 90
    monkeypatch.setattr("deeptracker.app.live.time.time", lambda: later)
    live.look()
    assert live.freshness.state == "recording"
    later += 120
    live.look()
    assert live.freshness.state == "waiting"
    writer.close()


def test_a_deleted_run_is_said_to_be_gone_until_it_is_back(recorded: tuple[RunWriter, Path], tmp_path: Path) -> None:
    writer, path = recorded
    writer.close()
    live = Live(Session(open_run(path)))
    banner = Banner(live)
    assert len(banner.row) == 0
    path.rename(tmp_path / "elsewhere")
    live.look(refresh=True)
    assert (live.freshness.state, live.freshness.words) == ("gone", "not there any more")
    assert "deleted or moved" in live.freshness.explained
    assert len(banner.row) == 1
    (tmp_path / "elsewhere").rename(path)
    live.look(refresh=True)
    assert (live.freshness.state, len(banner.row)) == ("closed", 0)


def test_another_run_in_its_place_is_never_mixed_with_it(recorded: tuple[RunWriter, Path]) -> None:
    writer, path = recorded
    writer.close()
    run = open_run(path)
    live = Live(Session(run))
    banner = Banner(live)
    shutil.rmtree(path)
    write_planted(path, 600, seed=7).close()
    with pytest.raises(RunReplacedError, match="Open it anew"):
        run.refresh()
    live.look(refresh=True)
    assert (live.freshness.state, run.iterations, run.version) == ("replaced", (0, 300), 0)
    assert len(banner.row) == 1


def test_an_odd_failure_becomes_words(recorded: tuple[RunWriter, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    writer, path = recorded
    live = Live(Session(open_run(path)))

    def broken(run: object) -> bool:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("deeptracker.data_model.run.Run.refresh", broken)
    live.look(refresh=True)
    assert (live.freshness.state, live.freshness.explained) == ("failed", "ZeroDivisionError: odd")
    writer.close()


def test_the_button_follows_and_lets_go(recorded: tuple[RunWriter, Path]) -> None:
    writer, path = recorded
    session = Session(open_run(path))
    live = Live(session)
    follow = Follow(session, live)
    press: Callable[[], None] = follow._pressed
    assert (follow.button.visible, follow.button.label) == (True, "Following")
    session.selection.window = (100, 200)
    assert (follow.following, follow.button.label) == (False, "Follow")
    press()
    assert (session.window, follow.button.label) == ((200, 300), "Following")
    made = session.history.made
    extend_planted(writer, 300, 360)
    live.look(refresh=True)
    assert session.window == (260, 360)
    assert session.history.made == made  # what the run does is no step of the user's
    press()
    assert follow.button.label == "Follow"
    extend_planted(writer, 360, 420)
    live.look(refresh=True)
    assert session.window == (260, 360)
    writer.close()
    live.look(refresh=True)
    assert not follow.button.visible
