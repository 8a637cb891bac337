"""Sessions of a finished run share one search; other thresholds, live runs and failures are nobody else's."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from deeptracker.app.search import AnomalySearch
from deeptracker.app.shared_search import Shared
from deeptracker.data_model.detection import Following
from deeptracker.data_model.run import open_run
from tests.planted import write_planted


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every real search."""
    made: list[int] = []
    update = Following.update

    def counted(self: Following, run: object) -> object:
        made.append(1)
        return update(self, run)  # type: ignore[arg-type]

    monkeypatch.setattr(Following, "update", counted)
    return made


def test_sessions_of_a_finished_run_share_a_search(tmp_path: Path, searches: list[int]) -> None:
    write_planted(tmp_path / "run", 300).close()
    first, second = (AnomalySearch(open_run(tmp_path / "run")) for _ in range(2))
    first.start()
    second.start()
    assert len(searches) == 1
    assert second.table is first.table
    assert (second.version, second.searching) == (1, False)
    rule = second.rules[0]
    name = next(name for name in rule.thresholds() if isinstance(getattr(rule, name), int | float))
    setattr(rule, name, getattr(rule, name) * 2)
    second.start(now=True)
    assert len(searches) == 2
    third = AnomalySearch(open_run(tmp_path / "run"))
    third.start()
    assert len(searches) == 2
    assert third.table is first.table


def test_a_run_that_is_recorded_is_searched_by_each(tmp_path: Path, searches: list[int]) -> None:
    writer = write_planted(tmp_path / "run", 300)
    for _ in range(2):
        AnomalySearch(open_run(tmp_path / "run")).start()
    assert len(searches) == 2
    writer.close()


def test_one_looks_while_the_others_wait() -> None:
    shared: Shared[int] = Shared()
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        time.sleep(0.05)
        return 7

    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(shared.get("key", look, lambda one: True))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, looks) == ([7] * 8, [1])


def test_failures_and_the_oldest_are_not_kept() -> None:
    shared: Shared[int] = Shared(most=2)
    assert [shared.get("bad", lambda number=number: number, lambda one: one > 1) for number in (1, 2, 3)] == [1, 2, 2]
    for key in "ab":
        shared.get(key, lambda: 5, lambda one: True)
    assert shared.get("bad", lambda: 9, lambda one: True) == 9
