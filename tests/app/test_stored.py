"""Runs in a bucket: listed, described and opened as those in a folder, and nothing beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptracker.app import notebook
from deeptracker.app.command import main, serve
from deeptracker.app.library import Library
from deeptracker.app.places import folder_size, require_served, split_places
from deeptracker.data_model.errors import DeepTrackerError, NotARunError, RunAccessError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import clients, open_storage
from tests.app.conftest import create

MakeRun = Callable[..., Any]


@pytest.fixture
def runs(make_run: MakeRun, bucket: str) -> str:
    """A folder of a bucket with a run, one far below, a bad one and something else; another run lies beside it."""
    make_run(f"{bucket}/runs/first", "The first")
    make_run(f"{bucket}/runs/group/deep/second", iterations=50)
    make_run(f"{bucket}/beside/run")
    open_storage(f"{bucket}/runs").write("bad/zarr.json", b"{")
    open_storage(f"{bucket}/runs").write("notes/today.txt", b"x")
    return f"{bucket}/runs"


def test_every_run_below_is_listed(runs: str, make_run: MakeRun, tmp_path: Path) -> None:
    local = make_run(tmp_path / "local", "The first")
    library = Library([runs, tmp_path])
    entries = {entry.key: entry for entry in library.entries()}
    assert set(entries) == {"runs/first", "runs/group/deep/second", "runs/bad", f"{tmp_path.name}/local"}
    assert "damaged" in entries["runs/bad"].problem
    stored, beside = entries["runs/first"], next(entry for entry in entries.values() if entry.path == local)
    for fact in ("name", "model", "state", "iterations", "sparkline"):
        assert getattr(stored, fact) == getattr(beside, fact)
    assert stored.size == folder_size(f"{runs}/first") > 10_000
    assert library.find("runs/first").url == f"{runs}/first"  # type: ignore[union-attr]
    assert library.find(f"{runs}/group/deep/second").url == f"{runs}/group/deep/second"  # type: ignore[union-attr]
    assert open_run(library.find("runs/first")).name == "The first"


def test_a_run_itself_can_be_served(runs: str) -> None:
    library = Library([f"{runs}/first"])
    assert [entry.key for entry in library.entries()] == ["first"]
    assert library.find("first").url == f"{runs}/first"  # type: ignore[union-attr]


def test_only_what_is_served_can_be_opened(runs: str) -> None:
    library = Library([runs])
    names = ("", "..", "runs/../beside/run", "beside/run", "runs/absent", "runs/notes", "runs/%2e%2e/beside/run")
    for named in (*names, "runs/first\0", "runs2/first", "runs/first#x", "runs/" + "x" * 5000):
        for text in (named, f"{runs.removesuffix('/runs')}/{named}"):
            with pytest.raises(NotARunError, match="There is no run"):
                library.find(text)


def test_info_tells_of_a_run_by_its_url(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{runs}/first", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["path"], facts["name"], facts["state"]) == (f"{runs}/first", "The first", "closed")
    assert facts["bytes"] == folder_size(f"{runs}/first")
    assert main(["info", runs]) == 1
    assert f"3 below it look like one: {runs}/bad, {runs}/first" in capsys.readouterr().err


def test_watch_and_compare_take_urls(runs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local = recorded(tmp_path / "first")
    assert main(["watch", f"{recorded(f'{runs}/watched')}", "--from-start", "--json", "--seconds", "0.1"]) == 0
    stored = capsys.readouterr().out
    assert main(["watch", str(local), "--from-start", "--json", "--seconds", "0.1"]) == 0
    beside = capsys.readouterr().out
    assert [told(line) for line in stored.splitlines()] == [told(line) for line in beside.splitlines()] != []
    assert main(["compare", f"{runs}/first", str(local), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["groups"], found["window"][0], found["images"]) == (["The first", "Jumps"], 0, [])


def recorded(place: Any) -> Any:
    """A closed run in which the loss jumps once."""
    writer = create(place, "Jumps")
    writer.append_scalars(np.arange(400, 420), {"loss": np.r_[np.full(10, 0.02), 1e6, np.full(9, 0.02)]})
    writer.close()
    return place


def told(line: str) -> tuple[Any, ...]:
    alert = json.loads(line)
    return alert["rule"], alert["start"], alert["message"]


def test_serving_says_at_once_what_it_cannot_reach(
    bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_served(f"{bucket}/runs that are yet to come")
    assert main(["serve", "s3://wrong/runs"]) == 1
    assert "no bucket 'wrong'" in capsys.readouterr().err
    library = Library([f"{bucket}/runs"])
    assert library.entries() == []
    assert f"There is no run below {bucket}/runs yet" in serve._remarks(library)[0]
    monkeypatch.setattr(clients, "RETRY_SECONDS", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RunAccessError, match="cannot be reached"):
        require_served(f"{bucket}/runs")
    away = Library([f"{bucket}/runs"])
    assert "cannot be reached" in away.entries()[0].problem
    with pytest.raises(DeepTrackerError):
        away.find("runs/first")


def test_a_notebook_shows_it(runs: str) -> None:
    run = open_run(f"{runs}/first")
    address = notebook.address(run, "light", None)
    notebook._servers.pop(run.url).stop()
    assert address.endswith("run?path=first&theme=light")


def test_the_environment_names_urls_too() -> None:
    places = ["runs", "s3://bucket/runs", "/data/more", "http://localhost:9000/bucket/run"]
    assert split_places(":".join(places)) == places
    assert split_places("") == []
