"""The search beside the page: on a thread of its own, resting between, never lost when the run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deeptracker.app import search as module
from deeptracker.app.search import AnomalySearch
from deeptracker.app.thresholds import Thresholds, field, valid
from deeptracker.data_model.run import open_run
from tests import planted


class Document:
    """Stands for a served document: runs what it is given when told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.later: list[tuple[Callable[[], None], int]] = []

    def add_next_tick_callback(self, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def add_timeout_callback(self, callback: Callable[[], None], milliseconds: int) -> None:
        self.later.append((callback, milliseconds))

    def run(self, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not self.waiting and time.monotonic() < until:
            time.sleep(0.01)
        self.waiting.pop(0)()


@pytest.fixture
def document(monkeypatch: pytest.MonkeyPatch) -> Document:
    served = Document()
    monkeypatch.setattr(module, "_served_document", lambda: served)
    return served


def test_without_a_page_the_search_is_done_when_it_returns(tmp_path: Path) -> None:
    planted.write_planted(tmp_path / "run").close()
    search = AnomalySearch(open_run(tmp_path / "run"))
    assert len(search.table) == 0
    search.start()
    assert (search.version, search.searching) == (1, False)
    assert "loss_spike" in set(search.table["rule"])
    search.start()
    assert search.version == 1, "nothing is new"
    run = search.run
    assert search.episodes == run.episodes()
    assert search.table.equals(run.anomalies()), "looking at what is new finds what looking at all finds"
    for episode in search.episodes:
        for one in episode.findings:
            assert search.table.iloc[search.rows[one]]["message"] == one.message


def test_a_page_is_not_held_up_and_hears_of_the_end(
    tmp_path: Path, document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.write_planted(tmp_path / "run").close()
    search = AnomalySearch(open_run(tmp_path / "run"))
    caller = threading.get_ident()
    looked: list[int] = []
    found = module.episodes_of_run

    def watched(*arguments: Any) -> Any:
        looked.append(threading.get_ident())
        return found(*arguments)

    monkeypatch.setattr(module, "episodes_of_run", watched)
    search.start()
    assert search.searching
    assert search.version == 0
    document.run()
    assert looked != [caller]
    assert (search.version, search.searching) == (1, False)


def test_a_growing_run_is_searched_again_after_a_rest(tmp_path: Path, document: Document) -> None:
    writer = planted.write_planted(tmp_path / "run", iterations=700)
    run = open_run(tmp_path / "run")
    search = AnomalySearch(run)
    search.start()
    document.run()
    planted.extend_planted(writer, 700, 1000)
    run.refresh()
    assert not search.searching, "it rests first"
    ((callback, milliseconds),) = document.later
    assert milliseconds > module.LEAST_REST * 500
    search._rested_at = 0
    callback()
    document.run()
    assert search.version == 2
    assert "loss_spike" in set(search.table["rule"])
    writer.close()
    run.refresh()
    assert search.searching, "the last word on a closed run does not wait"
    document.run()
    search.close()


def test_other_thresholds_are_searched_with_at_once(tmp_path: Path, document: Document) -> None:
    planted.write_planted(tmp_path / "run").close()
    search = AnomalySearch(open_run(tmp_path / "run"))
    search.start()
    next(rule for rule in search.rules if rule.name == "loss_spike").z = 1000
    search.start(now=True)
    document.run()
    document.run()
    assert search.version == 2
    assert "loss_spike" not in set(search.table["rule"])


def test_a_closed_session_hears_nothing_more(tmp_path: Path, document: Document) -> None:
    planted.write_planted(tmp_path / "run").close()
    search = AnomalySearch(open_run(tmp_path / "run"))
    search.start()
    search.close()
    time.sleep(0.5)
    for callback in document.waiting:
        callback()
    assert search.version == 0


def test_thresholds_become_fields_with_bounds_and_words() -> None:
    rules = {rule.name: rule for rule in module.default_rules()}
    widget = field(rules["filter_outlier"], "mates_z")
    assert widget is not None
    assert (widget.value, widget.start, widget.end) == (3.5, 1, 100)
    assert "layer mates" in widget.description
    assert field(rules["left_flip"], "stable").value is None
    assert field(rules["filter_outlier"], "statistic") is None
    assert valid(rules["left_flip"], "stable", None)
    assert not valid(rules["loss_spike"], "z", -1)


def test_a_changed_field_changes_the_rule_and_says_so() -> None:
    heard: list[bool] = []
    rules = [rule for rule in module.default_rules() if rule.name == "filter_outlier"]
    controls = Thresholds(rules, lambda: heard.append(True))
    rule = next(iter(controls.rules.values()))
    widget = controls._fields[0]
    widget.value = 5.0
    assert heard == [True]
    assert getattr(rule, rule.thresholds()[0]) == 5.0
    widget.value = -3.0
    assert widget.value == 5.0, "what the rule does not take is put back"
    assert heard == [True]
    controls._reset()
    assert getattr(rule, rule.thresholds()[0]) == rule.param[rule.thresholds()[0]].default
