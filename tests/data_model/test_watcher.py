"""Alerts while a run grows (synthetic): each episode once, and nobody held up."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.app.command import main
from deeptracker.data_model.alerts import Alert, Delivery, only, to_log
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.watcher import Watcher, alerting_rules
from deeptracker.data_model.writer import RunWriter
from tests import planted


def alert_of(*rules: str) -> Alert:
    return {"run": "mine", "message": "loss is NaN", "start": 3, "rule": rules[0], "rules": list(rules)}


@given(st.lists(st.sets(st.integers(0, 30), min_size=1, max_size=5), max_size=12))
def test_what_shares_a_part_with_what_was_told_is_not_told_again(offered: list[set[int]]) -> None:
    got: list[Alert] = []
    delivery = Delivery(got.append)
    seen: set[int] = set()
    told = 0
    for parts in offered:
        new = not parts & seen
        told += new
        seen |= parts
        assert delivery.offer(alert_of("a"), parts) == new
    delivery.close()
    assert len(got) == told


def test_a_target_for_some_rules_hears_of_an_episode_when_one_of_them_joins_it() -> None:
    got: list[Alert] = []
    delivery = Delivery(only(got.append, "b"))
    assert not delivery.offer(alert_of("a"), {1})
    assert delivery.offer(alert_of("a", "b"), {1, 2})
    assert not delivery.offer(alert_of("a", "b"), {1, 2, 3})
    assert delivery.offer(alert_of("b"), {9}, silent=True)
    assert not delivery.offer(alert_of("b"), {9})
    delivery.close()
    assert [one["rules"] for one in got] == [["a", "b"]]


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[RunWriter]:
    writer = planted.write_planted(tmp_path / "run", iterations=850)
    yield writer
    writer.close()


def test_a_growing_run_alerts_once_for_what_is_new(recording: RunWriter, tmp_path: Path) -> None:
    got: list[Alert] = []
    watcher = Watcher(open_run(tmp_path / "run"), [got.append])
    assert watcher.check() == []
    told = []
    for start, stop in ((850, 920), (920, 1215), (1215, 1300)):
        planted.extend_planted(recording, start, stop)
        told += watcher.check()
        assert watcher.check() == []
    watcher.close()
    assert got == told
    assert [one["start"] for one in told if one["rule"] == "loss_spike"] == [planted.SPIKE]
    assert [one["entity"] for one in told if one["rule"] == "non_finite_layer"] == ["stage1.1.conv"]
    assert json.loads(json.dumps(told)) == told
    assert {one["kind"] for one in told} <= {"scalar", "layer", "class"}


def test_what_is_there_already_is_told_only_on_request(tmp_path: Path) -> None:
    planted.write_planted(tmp_path / "run").close()
    run = open_run(tmp_path / "run")
    assert Watcher(run).check() == []
    told = Watcher(run, from_start=True, rules=["loss_spike", "left_flip"]).check()
    assert {one["rule"] for one in told} == {"loss_spike", "left_flip"}
    with pytest.raises(QueryError, match="no rule named"):
        Watcher(run, rules=["nothing"])
    assert not any(rule.landmark for rule in alerting_rules())


def test_a_target_that_hangs_or_fails_holds_nobody_up(
    recording: RunWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free, got = threading.Event(), []

    def hanging(alert: Alert) -> None:
        free.wait(60)

    def failing(alert: Alert) -> None:
        raise RuntimeError("no")

    watcher = Watcher(open_run(tmp_path / "run"), [hanging, failing, got.append, only(failing, "nothing")])
    planted.extend_planted(recording, 850, 1300)
    told = watcher.check()
    assert len(told) >= 2
    free.set()
    watcher.close()
    assert got == told
    logged = [record.message for record in caplog.records if "RuntimeError" in record.message]
    assert len(logged) == 1, "a target's failure is said once"
    assert any(f"{len(told)} alerts did not get through" in record.message for record in caplog.records)


def test_the_log_is_a_target(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery(to_log)
    alert = alert_of("non_finite")
    with caplog.at_level(logging.WARNING, "deeptracker.alerts"):
        delivery.send(alert)
        delivery.close()
    assert caplog.messages == ["mine: loss is NaN (iteration 3, rule non_finite)"]


def test_following_ends_with_the_recording(recording: RunWriter, tmp_path: Path) -> None:
    got: list[Alert] = []
    watcher = Watcher(open_run(tmp_path / "run"), [got.append], seconds=0.1)
    thread = threading.Thread(target=watcher.follow)
    thread.start()
    planted.extend_planted(recording, 850, 1300)
    recording.close()
    thread.join(60)
    assert not thread.is_alive()
    assert {"loss_spike", "non_finite_layer"} <= {one["rule"] for one in got}


def test_the_command_prints_each_alert(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    planted.write_planted(tmp_path / "run").close()
    assert main(["watch", str(tmp_path / "run"), "--from-start", "--json", "--rule", "loss_spike"]) == 0
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["start"] == planted.SPIKE
    assert main(["watch", str(tmp_path / "run"), "--from-start", "--rule", "loss_spike"]) == 0
    assert capfd.readouterr().out.startswith("iteration 900: ")
    assert main(["watch", str(tmp_path / "run"), "--webhook", "file:///x"]) == 1
    assert "http" in capfd.readouterr().err
