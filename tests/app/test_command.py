"""The command line: what it says, its exit status, and that it writes nothing when it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptracker.app.command import main
from deeptracker.app.command.demo import NETWORKS, free_folder
from deeptracker.data_model.manifest import FORMAT_VERSION
from deeptracker.data_model.run import open_run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

MakeRun = Callable[..., Path]


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail; return its one line on stderr."""
    assert main([str(argument) for argument in arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("deeptracker: ")
    assert output.err.count("\n") == 1
    return output.err


def test_info_in_words_and_as_json(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run(tmp_path / "run", "The first")
    assert main(["info", str(path)]) == 0
    words = capsys.readouterr().out
    assert "The first" in words
    assert "4 layers, 19 filters" in words
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    run = open_run(path)
    assert facts["iterations"] == run.steps
    assert (facts["state"], facts["layers"], facts["images"], facts["validations"]) == ("closed", 4, 30, 16)
    assert facts["remarks"] == []
    check_families(facts, path)
    RunWriter.resume(path, before=3).close()
    assert main(["info", str(path)]) == 0
    words = capsys.readouterr().out
    assert "\nremarks     resumed once\n" in words
    assert "\n            cut once, at last from iteration 3 on" in words


def check_families(facts: dict[str, Any], path: Path) -> None:
    """Every family is told with all its statistics; bytes are those of the files, each counted once."""
    families = facts["families"]
    assert facts["format_version"] == FORMAT_VERSION
    assert families["layers"]["statistics"] == facts["layer_statistics"] == ["weight_mean", "relative_change_l2"]
    assert families["filters"]["statistics"] == facts["filter_statistics"] == ["relative_change_l2"]
    assert facts["activation_statistics"] == []
    layers = families["layers"]
    assert (layers["records"], layers["entities"], layers["iterations"]) == (400, 4, [0, 400])
    assert (families["classes"]["records"], families["classes"]["entities"]) == (16, 3)
    assert families["scalars"]["statistics"] == ["loss", "learning_rate"]

    def size(folder: Path) -> int:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    for family, one in families.items():
        assert one["bytes"] == size(path / family)
        levels = [size(level) for level in (path / family).glob("level_[1-9]")]
        assert len(one["levels"]) == len(levels)
        if levels:
            assert sum(levels) <= one["index_bytes"] < one["bytes"]
    beside = sum(facts["bytes_beside"].values()) + sum(file.stat().st_size for file in path.glob("*") if file.is_file())
    assert facts["bytes"] == sum(one["bytes"] for one in families.values()) + beside


def test_info_tells_levels_and_what_is_in_the_tail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statistics = [Statistic("weight_std"), Statistic("weight_l2")]
    writer = RunWriter.create(
        tmp_path / "run", Description(), [Layer("one", "Linear", (2, 2))], statistics, [], [Statistic("output_mean")]
    )
    writer.append_layers(np.arange(9000), np.ones((9000, 2, 1), "f4"))
    writer.append_activations(np.arange(0, 9000, 9), np.ones((1000, 1, 1), "f4"), 9)
    writer.commit()
    assert main(["info", str(tmp_path / "run"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    layers = facts["families"]["layers"]
    assert (layers["records"], layers["tail_records"], layers["levels"]) == (9000, 9000 - 8192, [1024])
    assert facts["activation_statistics"] == facts["families"]["activations"]["statistics"] == ["output_mean"]
    assert facts["bytes_beside"]["tail"] > 0
    writer.close()
    assert main(["info", str(tmp_path / "run")]) == 0
    words = capsys.readouterr().out
    assert f"version {FORMAT_VERSION}" in words
    assert "layers, 9,000 records of 1 layers, 2 levels above, " in words
    assert ": weight_std, weight_l2" in words
    assert ": output_mean" in words


def test_a_run_without_data(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run(tmp_path / "run", iterations=0)
    assert main(["info", str(path)]) == 0
    assert "none recorded yet" in capsys.readouterr().out


def test_what_is_no_run_is_said_and_nothing_written(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    newer = make_run(tmp_path / "newer") / "zarr.json"
    root = json.loads(newer.read_text())
    root["attributes"]["format_version"] = 99
    newer.write_text(json.dumps(root))
    before = files(tmp_path)
    assert "is nothing" in refused(capsys, "info", tmp_path / "nowhere")
    assert "is a file" in refused(capsys, "info", tmp_path / "file")
    assert "not a run" in refused(capsys, "info", tmp_path / "empty")
    assert "newer" in refused(capsys, "info", tmp_path)  # names the runs below it
    assert "version" in refused(capsys, "info", tmp_path / "newer")
    assert "is nothing" in refused(capsys, "serve", tmp_path / "nowhere")
    assert "is a file" in refused(capsys, "serve", tmp_path / "file")
    assert "allow-origin" in refused(capsys, "serve", tmp_path / "empty", "--allow-origin", "*")
    assert "already holds" in refused(capsys, "demo", "--out", tmp_path / "newer", "--no-serve")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["serve"],
        ["info"],
        ["serve", ".", "--port", "99999"],
        ["serve", ".", "--port", "x"],
        ["demo", "--iterations", "0"],
        ["demo", "--iterations", "many"],
        ["demo", "--network", "huge"],
    ],
)
def test_wrong_use_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: deeptracker" in capsys.readouterr().err


def test_the_demo_finds_a_free_folder(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert free_folder(tmp_path / "demo") == tmp_path / "demo-3"


def test_the_demo_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = "deeptracker.app.command.demo.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None if name == "torch" else True)
    assert "PyTorch" in refused(capsys, "demo", "--out", tmp_path / "run", "--no-serve")
    assert files(tmp_path) == set()


def test_the_demo_offers_the_networks_that_there_are() -> None:
    from deeptracker.tracker.demo import COURSES

    assert set(NETWORKS) == set(COURSES)


@pytest.mark.parametrize("network", NETWORKS)
def test_demo_without_the_app_records_a_run(tmp_path: Path, network: str) -> None:
    command = [sys.executable, "-m", "deeptracker.app.command", "demo", "--no-serve", "--iterations", "3"]
    command += ["--network", network]
    done = subprocess.run([*command, "--out", "run"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    run = open_run(tmp_path / "run")
    assert run.state == "closed"
    assert run.iterations[1] >= 3


def test_demo_serves_the_live_run_and_stops_both_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deeptracker.app.command", "demo", "--iterations", "100000", "--out", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("DeepTracker is at http://localhost:")
        with urllib.request.urlopen(first.split()[-1], timeout=60) as answer:
            assert answer.status == 200
        assert open_run(tmp_path / "run").state == "recording"
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does: the terminal tells both processes
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    run = open_run(tmp_path / "run")
    assert run.state == "closed"
    assert run.iterations[1] > 0


def test_serve_stops_when_told_to(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-m", "deeptracker.app.command", "serve", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("DeepTracker is at http://localhost:")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
