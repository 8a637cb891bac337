"""What holds for every rule: found by folder, documented, a window is the whole answer clipped, faults stay
apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import param
import pytest

from deeptracker.data_model import rules as folder
from deeptracker.data_model.anomaly import COLUMNS, Anomaly, Kind
from deeptracker.data_model.detection import RuleFailedWarning, detect, find_anomalies
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.rules import Rule, find_rules
from deeptracker.data_model.rules.base import clip, spans

ALL = sorted(find_rules().rules)
each_rule = pytest.mark.parametrize("name", ALL)


@pytest.fixture
def eventful(fake_run: Callable[..., Any]) -> Any:
    """Synthetic: something for every rule, at places spread over 1200 iterations."""
    random = np.random.default_rng(5)
    iteration = np.arange(0, 3600, 3)
    loss = np.exp(random.normal(-1, 0.1, 1200))
    loss[[300, 301, 700, 1111]] *= 40
    loss[500:520] = np.nan
    rate = np.repeat([0.1, 0.01, 0.01, 0.001], 300)
    bad = np.zeros((1200, 3))
    bad[650:720, 1] = 4
    change = np.exp(random.normal(-7, 0.3, (1200, 40))).astype(np.float32)
    change[[100, 101, 640, 900, 1199], [3, 3, 25, 39, 0]] *= 50
    correct = np.repeat(random.integers(0, 2, (20, 30)), 6, axis=0).astype(np.int8)
    return fake_run(
        iteration=iteration,
        scalar_values={"loss": loss, "learning_rate": rate},
        layer_values={"weight_nonfinite": bad},
        filter_values={"relative_change_l2": change},
        filter_layer=np.repeat([0, 1], 20).astype(np.int32),
        correct=correct,
        validation_iteration=np.arange(20, 3600, 30),
    )


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
    for window in [(0, 3600), (901, 903), (1500, 1510), (1949, 2160), (300, 310), (2100, 3600), (1, 2)]:
        expected = clip(whole, window)
        assert places(rule.find(eventful, window)) == places(expected), window


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
