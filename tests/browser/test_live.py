"""A run that grows while it is looked at, and views that fail: neither disturbs what the user is doing."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Window = Callable[["Page"], tuple[float, float]]
HERE = Path(__file__).parent
# What a run that is being recorded is said to be; on a slow machine the page comes when nothing has come for long.
FOLLOWED = re.compile("^(live, iteration|stalled for)")

GOOD = """
from bokeh.plotting import figure
import panel as pn
from deeptracker.app.views.base import View

class Good(View):
    title, description, order = "Good", "Goes on", 1

    def build(self):
        self.words = pn.pane.Str()
        self.watch(self.session.selection, self.update, "window")
        self.watch(self.session.run, self.update, "version")
        self.update()
        return self.words

    def update(self, *events):
        self.words.object = f"good sees {self.session.window}"
"""
FAILS_AT_ONCE = """
from deeptracker.app.views.base import View

class AtOnce(View):
    title, order = "At once", 2

    def build(self):
        raise ValueError("cannot <b>build</b>")
"""
FAILS_LATER = """
import panel as pn
from deeptracker.app.views.base import View

class Later(View):
    title, order = "Later", 0

    def build(self):
        self.watch(self.session.selection, self.update, "window")
        return pn.pane.Str("later is fine so far")

    def update(self, event):
        if event.new is not None:
            raise RuntimeError("cannot update")
"""

CHANGES_AT_ONCE = """
import panel as pn
from deeptracker.app.views.base import View
from panel.custom import JSComponent

class Slow(JSComponent):
    _esm = (
        "await new Promise(done => setTimeout(done, 1500));"
        "export function render() { return document.createElement('i'); }"
    )

class Early(View):
    title, order = "Early", 3

    def build(self):
        self.place = pn.Column()
        self.watch(self.session.selection, self.fill, "statistic")
        pn.state.curdoc.add_timeout_callback(self.hurry, 700)
        return pn.Column(self.place, Slow())

    def hurry(self):
        self.session.selection.statistic = "weight_std"

    def fill(self, *events):
        self.place[:] = [pn.pane.Str("filled early")]
"""


@pytest.fixture(scope="module")
def shell(request: pytest.FixtureRequest) -> ModuleType:
    """Return the module that knows how to serve; conftest files cannot be imported by name."""
    return _module(HERE / "conftest.py")


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    """Return the module that writes small runs without training."""
    return _module(HERE.parent / "app" / "conftest.py")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"helpers_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def served(shell: ModuleType, tmp_path: Path) -> Iterator[str]:
    views = tmp_path / "views"
    views.mkdir()
    (views / "good.py").write_text(GOOD)
    (views / "at_once.py").write_text(FAILS_AT_ONCE)
    (views / "later.py").write_text(FAILS_LATER)
    (views / "early.py").write_text(CHANGES_AT_ONCE)
    (views / "no_python.py").write_text("this is no Python")
    (tmp_path / "runs").mkdir()
    script = str(HERE / "serve_oddities.py")
    with shell.serving(script, "{port}", str(tmp_path / "runs"), str(views)) as address:
        yield address


def test_failing_views_fail_alone(
    served: str, runs: ModuleType, tmp_path: Path, open_page: OpenPage, frame_of: Callable[..., tuple[float, ...]]
) -> None:
    runs.create(tmp_path / "runs" / "one").close()
    page = open_page(f"{served}run?path=runs/one&v=good,at-once,later,no-python", 1600, 1000)
    page.get_by_text("good sees").wait_for()
    page.get_by_text("ValueError: cannot <b>build</b>", exact=True).wait_for()
    page.get_by_text("No python failed").wait_for()
    page.get_by_text("later is fine so far").wait_for()
    left, top, width, height = frame_of(page)
    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.wheel(0, -300)
    page.get_by_text("RuntimeError: cannot update", exact=True).wait_for()
    page.get_by_text(re.compile(r"good sees \((?!0,)")).wait_for()
    page.locator(".view-later").get_by_role("button", name="Try again").click()
    page.get_by_text("later is fine so far").wait_for()


def test_what_changes_while_the_browser_builds_a_view_is_not_lost(
    served: str, runs: ModuleType, tmp_path: Path, open_page: OpenPage
) -> None:
    runs.create(tmp_path / "runs" / "one").close()
    page = open_page(f"{served}run?path=runs/one&v=good,early")
    page.get_by_text("filled early").wait_for(timeout=20_000)


def test_an_empty_run_fills_and_a_zoomed_window_stays(
    served: str,
    runs: ModuleType,
    tmp_path: Path,
    open_page: OpenPage,
    window_of: Window,
    frame_of: Callable[..., tuple[float, ...]],
) -> None:
    writer = runs.create(tmp_path / "runs" / "live", iterations=0)
    try:
        page = open_page(f"{served}run?path=runs/live&v=good", 1280, 720)
        page.get_by_text("Nothing recorded yet").wait_for()
        runs.append(writer, 0, 320)
        page.get_by_text("good sees (0, 320)").wait_for()
        page.get_by_text(re.compile(r"^live, iteration 319, \d+ s ago")).wait_for()
        runs.append(writer, 320, 640)
        page.get_by_text("good sees (0, 640)").wait_for()  # at the whole run the window grows
        assert window_of(page) == (0, 640)
        left, top, width, height = frame_of(page)
        page.mouse.move(left + width / 2, top + height / 2)
        page.mouse.wheel(0, -300)
        page.wait_for_url(re.compile("w=[0-9]"))
        zoomed = window_of(page)
        assert 0 < zoomed[0] < zoomed[1] < 640
        runs.append(writer, 640, 1280)
        page.wait_for_function(
            "[...Bokeh.documents[0].all_models].some(model => model.name === 'overview' && model.x_range.end >= 1280)"
        )
        assert window_of(page) == zoomed
        writer.close()
        page.get_by_text("finished").wait_for()
    finally:
        writer.close()


def test_a_run_that_vanishes_is_said_so(served: str, runs: ModuleType, tmp_path: Path, open_page: OpenPage) -> None:
    writer = runs.create(tmp_path / "runs" / "live")
    try:
        page = open_page(f"{served}run?path=runs/live&v=good", 1280, 720)
        page.get_by_text(FOLLOWED).wait_for()
        root = tmp_path / "runs" / "live" / "zarr.json"
        root.rename(root.with_name("gone"))
        page.get_by_text("This run is not there any more").wait_for()
        page.get_by_text("deleted or moved").wait_for()
        page.get_by_text("good sees").wait_for()
        root.with_name("gone").rename(root)
        page.get_by_text(FOLLOWED).wait_for()
        page.get_by_text("This run is not there any more").wait_for(state="detached")
    finally:
        writer.close()


def test_a_run_in_anothers_place_is_shown_on_request(
    served: str, runs: ModuleType, tmp_path: Path, open_page: OpenPage, window_of: Window
) -> None:
    path = tmp_path / "runs" / "live"
    writer = runs.create(path)
    page = open_page(f"{served}run?path=runs/live&v=good", 1280, 720)
    page.get_by_text(FOLLOWED).wait_for()
    writer.close()
    shutil.rmtree(path)
    runs.create(path, iterations=640).close()
    page.get_by_text("Another run has taken this one's place").wait_for()
    page.get_by_text("good sees (0, 400)").wait_for()  # nothing of the two is mixed
    page.get_by_text("Show the new run").click()
    page.get_by_text("good sees (0, 640)").wait_for()
    assert window_of(page) == (0, 640)


def test_a_part_at_the_end_slides_along_until_it_is_held(
    served: str, runs: ModuleType, tmp_path: Path, open_page: OpenPage, window_of: Window
) -> None:
    writer = runs.create(tmp_path / "runs" / "live")
    try:
        page = open_page(f"{served}run?path=runs/live&v=good&w=300-400", 1280, 720)
        page.get_by_text("good sees (300, 400)").wait_for()
        runs.append(writer, 400, 480)
        page.get_by_text("good sees (380, 480)").wait_for()
        assert window_of(page) == (380, 480)
        page.get_by_text("Following").click()
        page.locator(".follow").get_by_text(re.compile("Follow$")).wait_for()
        runs.append(writer, 480, 560)
        page.get_by_text(re.compile("^live, iteration 559")).wait_for()
        assert window_of(page) == (380, 480)
        page.locator(".follow").get_by_text(re.compile("Follow$")).click()
        page.get_by_text("good sees (460, 560)").wait_for()
    finally:
        writer.close()


def test_runs_picked_in_the_list_are_laid_over_each_other(
    served: str, runs: ModuleType, tmp_path: Path, open_page: OpenPage
) -> None:
    runs.create(tmp_path / "runs" / "one").close()
    runs.create(tmp_path / "runs" / "two", iterations=320).close()
    page = open_page(served)
    page.get_by_label("Pick one").check()
    page.get_by_label("Pick two").check()
    page.wait_for_timeout(5000)  # the list is renewed meanwhile: what is picked stays so
    assert page.get_by_label("Pick one").is_checked()
    page.get_by_text("Compare 2 runs").click()
    page.wait_for_url(re.compile(r"path=runs/one&r=runs/two"))
    page.get_by_text("with two").wait_for()
    page.locator(".difference").get_by_role("button").click()
    page.wait_for_url(re.compile("d=1"))
    page.wait_for_function("[...Bokeh.documents[0].all_models].some(model => model.axis_label === 'Δ loss')")
    page.get_by_text("with two").click()
    page.get_by_text("with two").wait_for(state="detached")
    page.wait_for_function("!location.search.includes('r=runs')")
    assert page.locator(".difference").get_by_role("button").count() == 0
