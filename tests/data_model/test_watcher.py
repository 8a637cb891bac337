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
from deeptracker.data_model.alerts import Alert, Delivery, Episodes, only, to_log
from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.watcher import Watcher, alerting_rules
from deeptracker.data_model.writer import RunWriter
from tests import planted


def finding(rule: str, start: int, stop: int, score: float = 1) -> Anomaly:
    return Anomaly(rule, Kind.SCALAR, "loss", 0, start, stop, score, f"at {start}")


spans = st.tuples(st.integers(0, 400), st.integers(1, 30)).map(lambda one: (one[0], one[0] + one[1]))


@given(st.lists(spans, max_size=15), st.integers(0, 40))
def test_each_stretch_is_told_once_however_it_comes_in(found: list[tuple[int, int]], gap: int) -> None:
    found = sorted(found)
    stretches: list[list[int]] = []
    for start, stop in found:
        if stretches and start <= stretches[-1][1] + gap:
            stretches[-1][1] = max(stretches[-1][1], stop)
        else:
            stretches.append([start, stop])
    anomalies = [finding("a", *span) for span in found]
    at_once = Episodes(gap).new(anomalies)
    assert [one.start for one in at_once] == [start for start, _ in stretches]
    one_by_one = Episodes(gap)
    told = [new for one in anomalies for new in one_by_one.new([one])]
    assert len(told) == len(stretches)
    assert one_by_one.new(anomalies) == []


def test_rules_have_episodes_of_their_own_and_the_highest_score_speaks() -> None:
    episodes = Episodes(10)
    told = episodes.new([finding("a", 5, 6), finding("a", 8, 9, 7), finding("b", 8, 9)])
    assert [(one.rule, one.start) for one in told] == [("a", 8), ("b", 8)]
    assert episodes.new([finding("a", 18, 19), finding("b", 100, 101)])[0].rule == "b"


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
    alert = {"run": "mine", "message": "loss is NaN", "start": 3, "rule": "non_finite"}
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
