"""Rules from outside the package: a folder of one's own, the environment, another package's entry point."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import param
import pytest

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.detection import detect
from deeptracker.data_model.rules import Rule, add_rules, discovery, find_rules

OURS = set(find_rules().rules)
A_RULE = """
import param
from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.rules import Rule

class Mine(Rule):
    name = param.String(default="{name}", constant=True)
    kind, title, source = Kind.SCALAR, "Mine", "a test"

    def find(self, run, iterations=None):
        return [self.anomaly("all", 0, run.iterations, 1.0, "it ran")]
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(discovery, "_added", [])
    monkeypatch.delenv(discovery.FOLDERS, raising=False)
    find_rules.cache_clear()
    yield
    find_rules.cache_clear()


def put(folder: Path, name: str, text: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text if text is not None else A_RULE.format(name=name))
    return folder


def test_a_folder_of_ones_own_is_searched_too_and_its_rule_runs(tmp_path: Path, fake_run: Any) -> None:
    add_rules(put(tmp_path / "rules", "mine"))
    found = find_rules()
    assert set(found.rules) == {*OURS, "mine"}
    assert not found.failures
    run = fake_run(iteration=range(5), scalar_values={})
    assert [(one.start, one.stop, one.message) for one in detect(run, ["mine"]).anomalies] == [(0, 5, "it ran")]


def test_the_environment_names_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = put(tmp_path / "a", "mine"), put(tmp_path / "b", "yours")
    monkeypatch.setenv(discovery.FOLDERS, f"{first}:{second}:{tmp_path / 'nowhere'}")
    found = find_rules()
    assert set(found.rules) == {*OURS, "mine", "yours"}
    ((where, why),) = found.failures.items()
    assert where.endswith("nowhere")
    assert discovery.FOLDERS in why


def test_what_is_broken_is_named_and_hides_nothing(tmp_path: Path) -> None:
    folder = put(tmp_path / "rules", "mine")
    put(folder, "broken", "1 / 0")
    put(folder, "taken", A_RULE.format(name="loss_spike"))
    put(folder, "lacking", A_RULE.format(name="lacking").replace("kind, title, source =", "kind, title, _ ="))
    put(folder, "_helper", "raise RuntimeError('a file with _ holds no rules')")
    add_rules(folder)
    found = find_rules()
    assert set(found.rules) == {*OURS, "mine"}
    reasons = {Path(where).stem: why for where, why in found.failures.items()}
    assert set(reasons) == {"broken", "taken", "lacking"}
    assert "ZeroDivisionError" in reasons["broken"]
    assert "'loss_spike' is taken by deeptracker.data_model.rules.loss_spike.LossSpike" in reasons["taken"]
    assert "lacks source" in reasons["lacking"]
    assert detect(None, None).failures.keys() >= found.failures.keys()  # type: ignore[arg-type]


class Announced(Rule):
    """A rule of another package."""

    name = param.String(default="announced", constant=True, doc="The rule's name.")
    kind, title, source = Kind.SCALAR, "Announced", "a test"


def test_a_package_announces_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("good", f"{__name__}:Announced", discovery.GROUP),
        EntryPoint("bad", "os:sep", discovery.GROUP),
    ]
    monkeypatch.setattr(discovery, "entry_points", lambda group: points if group == discovery.GROUP else [])
    found = find_rules()
    assert found.rules["announced"] is Announced
    assert list(found.failures) == ["entry point bad"]
