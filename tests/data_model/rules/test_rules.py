"""What holds for every rule: found by folder, documented, a window is the whole answer clipped, faults stay
apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import param
import pytest

from deeptracker.data_model import rules as folder
from deeptracker.data_model.anomaly import COLUMNS, Anomaly, Kind
from deeptracker.data_model.detection import Following, RuleFailedWarning, chosen_rules, detect, find_anomalies
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.rules import Rule, find_rules
from deeptracker.data_model.rules.base import clip, spans
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.writer import RunWriter
from tests.data_model.rules.eventful import ITERATIONS, History

ALL = sorted(find_rules().rules)
each_rule = pytest.mark.parametrize("name", ALL)


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Run:
    history, path = History(), tmp_path_factory.mktemp("runs") / "eventful"
    writer = history.begin(path)
    history.write(writer, 0, ITERATIONS)
    writer.close()
    return open_run(path)


def places(anomalies: list[Anomaly]) -> list[tuple[str, str, int, int]]:
    return sorted((found.rule, found.entity, found.start, found.stop) for found in anomalies)


@each_rule
def test_every_threshold_has_a_doc_and_bounds_and_the_rule_a_source(name: str) -> None:
    rule = find_rules().rules[name]
    assert rule.name == rule().name == name
    assert rule.title
    assert rule.source
    assert isinstance(rule.kind, Kind)
    for threshold in rule.thresholds():
        definition = rule.param[threshold]
        assert definition.doc, f"{name}.{threshold} has no doc"
        if isinstance(definition, param.Number):
            assert definition.bounds is not None, f"{name}.{threshold} has no bounds"


@each_rule
def test_the_rule_finds_something_and_a_window_is_the_whole_answer_clipped(name: str, eventful: Any) -> None:
    rule = find_rules().rules[name]()
    whole = rule.find(eventful)
    assert whole
    for window in [(0, 2400), (601, 603), (1500, 1510), (1309, 1720), (300, 310), (2100, 2400), (1, 2)]:
        expected = clip(whole, window)
        assert places(rule.find(eventful, window)) == places(expected), window


@pytest.mark.parametrize("splits", [(700, 1237, 1238, 1999), (31, 32, 33, 1120, 1300, 1501), (2400,)])
def test_every_rule_follows_a_growing_run_to_the_answer_it_has_at_once(tmp_path: Path, splits: Sequence[int]) -> None:
    history, following = History(), Following()
    writer = history.begin(tmp_path / "run")
    run = open_run(tmp_path / "run")
    for start, stop in itertools.pairwise([0, *splits, ITERATIONS] if splits[-1] < ITERATIONS else [0, *splits]):
        history.write(writer, start, stop)
        run.refresh()
        assert following.update(run) == detect(run)
    assert {found.rule for found in following.update(run).anomalies} == set(ALL)
    writer.close()


def test_a_changed_threshold_and_a_cut_run_are_followed_anew(tmp_path: Path) -> None:
    history, rules = History(), chosen_rules(["loss_change", "frozen_layer"])
    writer = history.begin(tmp_path / "run")
    history.write(writer, 0, 2000)
    writer.close()
    run, following = open_run(tmp_path / "run"), Following(rules)
    assert {found.rule for found in following.update(run).anomalies} == {"loss_change", "frozen_layer"}
    rules[1].fewest = 5000
    assert {found.rule for found in following.update(run).anomalies} == {"loss_change"}
    writer = RunWriter.resume(tmp_path / "run", before=1250)
    writer.commit()
    run.refresh()
    assert following.update(run) == detect(run, rules)
    writer.close()


@each_rule
def test_an_empty_run_has_no_anomalies(name: str, fake_run: Callable[..., Any]) -> None:
    nothing = fake_run(iteration=np.zeros(0, np.int64))
    assert find_rules().rules[name]().find(nothing) == []


def test_the_table_is_sorted_by_time_and_has_fixed_columns(eventful: Any, fake_run: Callable[..., Any]) -> None:
    full, empty = find_anomalies(eventful), find_anomalies(fake_run(iteration=np.zeros(0, np.int64)))
    assert list(full.columns) == list(COLUMNS) == list(empty.columns)
    assert full.dtypes.equals(empty.dtypes)
    assert len(empty) == 0
    assert full["start"].is_monotonic_increasing
    assert (full["start"] < full["stop"]).all()
    assert set(full["rule"]) == set(ALL)
    pd.testing.assert_frame_equal(full, find_anomalies(eventful, rules=reversed(ALL)))


def test_a_rule_can_be_named_or_given_with_its_own_thresholds(eventful: Any) -> None:
    strict = find_rules().rules["loss_spike"](z=1000)
    assert len(find_anomalies(eventful, [strict])) == 0
    assert set(find_anomalies(eventful, ["loss_spike", "left_flip"])["rule"]) == {"loss_spike", "left_flip"}
    with pytest.raises(QueryError, match=r"no rule named 'loss_spikes'. Rules: .*filter_outlier"):
        find_anomalies(eventful, ["loss_spikes"])
    with pytest.raises(QueryError, match="start < stop; given 5 to 5"):
        find_anomalies(eventful, iterations=(5, 5))


class Faulty(Rule):
    name = param.String(default="faulty", constant=True)
    kind = Kind.SCALAR

    def find(self, run: Any, iterations: Any = None) -> list[Anomaly]:
        raise RuntimeError("nothing to see")


def test_a_rule_that_raises_is_named_and_the_others_go_on(eventful: Any) -> None:
    detection = detect(eventful, [Faulty(), "loss_spike"])
    assert detection.failures == {"faulty": "RuntimeError: nothing to see"}
    assert {found.rule for found in detection.anomalies} == {"loss_spike"}
    with pytest.warns(RuleFailedWarning, match="faulty could not look: RuntimeError: nothing to see"):
        find_anomalies(eventful, [Faulty(), "loss_spike"])


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    find_rules.cache_clear()
    yield tmp_path
    find_rules.cache_clear()


def test_a_new_rule_is_one_new_file_and_a_broken_one_hides_no_other(extended: Path, eventful: Any) -> None:
    (extended / "always.py").write_text(
        "import param\n"
        "from deeptracker.data_model.anomaly import Kind\n"
        "from deeptracker.data_model.rules.base import Rule\n"
        "class Always(Rule):\n"
        "    name = param.String(default='always', constant=True)\n"
        "    kind, title, source = Kind.SCALAR, 'Always', 'a test'\n"
        "    def find(self, run, iterations=None):\n"
        "        return [self.anomaly('all', 0, run.iterations, 1.0, 'it ran')]\n"
    )
    (extended / "broken.py").write_text("import does_not_exist_anywhere\n")
    found = find_rules()
    assert set(found.rules) == {*ALL, "always"}
    assert list(found.failures) == ["broken"]
    detection = detect(eventful)
    assert "always" in {anomaly.rule for anomaly in detection.anomalies}
    assert "does_not_exist_anywhere" in detection.failures["broken"]


def test_spans_reach_to_the_next_record() -> None:
    start, stop = spans(np.array([3, 5, 9]))
    assert (start.tolist(), stop.tolist()) == ([3, 5, 9], [5, 9, 13])
    assert [part.tolist() for part in spans(np.array([4]))] == [[4], [5]]
    assert [part.tolist() for part in spans(np.zeros(0, np.int64))] == [[], []]
