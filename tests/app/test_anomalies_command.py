"""`deeptracker anomalies`: what it prints, and the status that scripts act on (synthetic runs)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeptracker.app.command import main
from deeptracker.app.command.anomalies import STATUS
from deeptracker.data_model.detection import detect
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.rules import add_rules, discovery, find_rules
from deeptracker.data_model.run import open_run
from deeptracker.data_model.shared_detection import detect_shared
from tests import planted

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "planted"
    planted.write_planted(path).close()
    return path


@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(discovery, "_added", [])
    yield
    find_rules.cache_clear()


def test_episodes_are_told_in_words_and_the_status_is_3(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anomalies", str(run)]) == 3
    said = capsys.readouterr().out
    assert "episodes, the most important first" in said
    assert "1,200 to 1,229, layer stage1.1.conv" in said
    assert "Iteration 900: loss jumped to" in said
    assert main(["anomalies", str(run), "--most", "1"]) == 3
    assert "more (--most, or --json for all)" in capsys.readouterr().out


def test_json_holds_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anomalies", str(run), "--json", "--rule", "loss_spike"]) == 3
    told = json.loads(capsys.readouterr().out)
    (episode,) = told["episodes"]
    assert (episode["start"], episode["stop"], episode["place"]) == (planted.SPIKE, planted.SPIKE + 1, "run")
    assert [one["rule"] for one in episode["findings"]] == ["loss_spike"]
    assert told["iterations"] == [0, planted.ITERATIONS]


def test_nothing_found_is_status_0(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anomalies", str(run), "--iterations", "905", "1000", "--rule", "loss_spike"]) == 0
    assert "nothing unusual was found" in capsys.readouterr().out


@pytest.mark.usefixtures("forgetting")
def test_a_rule_that_cannot_look_is_status_4(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "faulty.py").write_text(
        "import param\n"
        "from deeptracker.data_model.anomaly import Kind\n"
        "from deeptracker.data_model.rules import Rule\n"
        "class Faulty(Rule):\n"
        "    name = param.String(default='faulty', constant=True)\n"
        "    kind, title, source = Kind.SCALAR, 'Faulty', 'a test'\n"
        "    def find(self, run, iterations=None):\n"
        "        raise RuntimeError('nothing to see')\n"
    )
    assert main(["anomalies", str(run), "--rules-from", str(tmp_path), "--rule", "faulty"]) == 4
    assert "the rule faulty could not look: RuntimeError: nothing to see" in capsys.readouterr().err


def test_what_cannot_be_is_status_1_or_2(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anomalies", str(tmp_path)]) == 1
    assert main(["anomalies", str(run), "--rule", "loss_spikes"]) == 1
    assert "There is no rule named 'loss_spikes'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["anomalies", str(run), "--most", "none"])


def test_the_status_is_documented() -> None:
    documented = " ".join((ROOT / "docs" / "anomalies.md").read_text(encoding="utf-8").split())
    assert STATUS in documented


RULE_OF_ONES_OWN = """
import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.rules import Rule


class OnesOwn(Rule):
    "Finds the middle."

    name = param.String(default="ones_own", constant=True)
    kind, title, source = Kind.SCALAR, "Middle", "nobody"

    def find(self, run, iterations=None):
        middle = run.iterations[1] // 2
        return [self.anomaly("loss", 0, (middle, middle + 1), 1.0, "the middle")]


class Broken(OnesOwn):
    "Cannot look."

    name = param.String(default="broken", constant=True)

    def find(self, run, iterations=None):
        raise ValueError("no eyes")
"""


@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize("shared", ["workers", "scheduler"])
def test_shared_out_the_rules_find_the_same(
    run: Path, tmp_path: Path, shared: str, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(RULE_OF_ONES_OWN)
    given = ["anomalies", str(run), "--json", "--rules-from", str(tmp_path)]
    assert main(given) == 3
    alone = capsys.readouterr()
    assert main([*given, f"--{shared}", "2" if shared == "workers" else scheduler]) == 3
    together = capsys.readouterr()
    assert json.loads(together.out) == json.loads(alone.out)
    assert together.err == alone.err == "deeptracker: the rule broken could not look: ValueError: no eyes\n"
    assert len(json.loads(alone.out)["episodes"]) > 2


@pytest.mark.usefixtures("forgetting")
def test_shared_out_every_single_finding_is_the_same(run: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(RULE_OF_ONES_OWN)
    add_rules(tmp_path)
    alone = detect(open_run(run))
    assert detect_shared(run, folders=[str(tmp_path)]) == alone
    assert "ones_own" in {one.rule for one in alone.anomalies}
    with pytest.raises(QueryError, match="no rule named 'nothing'"):
        detect_shared(run, ["nothing"])
