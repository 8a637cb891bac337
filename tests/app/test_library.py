"""The list of runs: complete, closed to what lies outside, and not taken down by one bad run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deeptracker.app.library import Library
from deeptracker.app.library_page import LibraryPage, entry_html, matching, sparkline_svg
from deeptracker.app.places import find_runs, folder_size
from deeptracker.data_model.errors import NotARunError

MakeRun = Callable[..., Path]


@pytest.fixture
def library(make_run: MakeRun, tmp_path: Path) -> Library:
    runs = tmp_path / "runs"
    make_run(runs / "first", "The first")
    make_run(runs / "group" / "deep" / "second", "<img src=x onerror=alert(1)>", 50)
    make_run(tmp_path / "outside")
    (runs / "bad").mkdir()
    (runs / "bad" / "zarr.json").write_text("{")
    (runs / "link").symlink_to(tmp_path / "outside")
    (runs / "group" / "circle").symlink_to(runs)
    (runs / "empty folder").mkdir()
    return Library([runs])


def test_every_run_below_is_listed_once(library: Library) -> None:
    assert {entry.key for entry in library.entries()} == {"runs/first", "runs/group/deep/second", "runs/bad"}


def test_a_bad_run_is_an_entry_with_its_error(library: Library) -> None:
    by_key = {entry.key: entry for entry in library.entries()}
    assert "damaged" in by_key["runs/bad"].problem
    good = by_key["runs/first"]
    assert (good.problem, good.name, good.model, good.state) == ("", "The first", "TinyNet", "closed")
    assert good.iterations >= 400
    assert good.size == folder_size(good.path) > 10_000
    assert all(low <= high for low, high in good.sparkline)
    assert good.sparkline[0][1] > 10 * good.sparkline[-1][0]


def test_a_folder_that_is_itself_a_run(make_run: MakeRun, tmp_path: Path) -> None:
    path = make_run(tmp_path / "alone")
    library = Library([path])
    assert [entry.key for entry in library.entries()] == ["alone"]
    assert library.find("alone") == path.resolve()


def test_two_folders_of_one_name_are_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    paths = [make_run(tmp_path / place / "runs" / "one") for place in ("a", "b")]
    library = Library([tmp_path / "a" / "runs", tmp_path / "b" / "runs"])
    assert [library.find(entry.key) for entry in library.entries()] == [entry.path for entry in library.entries()]
    assert {entry.path for entry in library.entries()} == {path.resolve() for path in paths}


def test_only_what_is_served_can_be_opened(library: Library, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert library.find("runs/first") == (root / "first").resolve()
    assert library.find(str(root / "first")) == (root / "first").resolve()
    for text in (
        "",
        "..",
        "runs/../outside",
        "runs/link",
        "runs//etc",
        str(tmp_path / "outside"),
        "/etc",
        "runs/first/../../outside",
        "runs/\0",
        "runs/" + "x" * 5000,
        "runs/nothing",
        "../" * 30 + "etc/passwd",
        "runs2/first",
    ):
        with pytest.raises(NotARunError) as caught:
            library.find(text)
        assert len(str(caught.value)) < 500


def test_new_and_changed_runs_appear(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeptracker.app.library.FRESH_SECONDS", 0.0)
    library = Library([tmp_path])
    assert library.entries() == []
    make_run(tmp_path / "new")
    assert [entry.key for entry in library.entries()] == [f"{tmp_path.name}/new"]


def test_depth_is_limited(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path / "1/2/3/4/5/6")
    assert find_runs(tmp_path) == []
    assert len(find_runs(tmp_path, depth=6)) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_passed_over(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(tmp_path / "good")
    (tmp_path / "closed").mkdir(mode=0)
    assert [path.name for path in find_runs(tmp_path)] == ["good"]


def test_what_a_run_says_of_itself_is_escaped(library: Library) -> None:
    entry = next(entry for entry in library.entries() if entry.key.endswith("second"))
    shown = entry_html(entry, 'x"onclick="alert(1)', 0.0)
    assert "<img" not in shown
    assert 'onclick="alert' not in shown


def test_search(library: Library) -> None:
    entries = library.entries()
    assert [entry.key for entry in matching(entries, "TINYNET first")] == ["runs/first"]
    assert matching(entries, "nothing of the kind") == []
    assert matching(entries, "  ") == entries


def test_empty_page_says_how_to_record(tmp_path: Path) -> None:
    page = LibraryPage(Library([tmp_path]), lambda entry: entry.key)
    assert "Recorder(" in page.content[0].object


def test_sparklines_of_odd_losses() -> None:
    assert "no loss" in sparkline_svg([])
    for spans in ([(1.0, 1.0)], [(0.0, 0.0), (0.0, 0.0)], [(-3.0, 5.0), (1e300, 1e308)]):
        drawn = sparkline_svg(spans)
        assert "nan" not in drawn
        assert "inf" not in drawn


def test_two_picked_runs_can_be_compared(library: Library) -> None:
    page = LibraryPage(library, lambda entry: f"run?path={entry.key}")
    assert page.list.lines.count('class="pick"') == 2  # none where a run cannot be opened
    page.list.picked = ["runs/group/deep/second"]
    assert not page.compare.visible
    page.list.picked = ["runs/group/deep/second", "runs/bad", "nowhere", "runs/first"]
    assert page.compare.visible
    assert page.compare.label == "Compare 2 runs"
    assert page.compare.href == "run?path=runs/group/deep/second&r=runs/first"
    page.list.picked = ["runs/first"]
    assert not page.compare.visible
