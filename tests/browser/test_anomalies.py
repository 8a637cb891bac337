"""The list of anomalies in a real browser: filters, jumps, brushes, thresholds, a run that is being recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import planted
from tests.browser.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

OpenPage = Callable[..., "Page"]
Window = Callable[["Page"], tuple[float, float]]
Frame = Callable[..., tuple[float, float, float, float]]

STRIP = "rules x iteration"
FIRST_CARD = """where => { const walk = (node) => [...node.querySelectorAll('*')].flatMap(one => one.shadowRoot ?
  [one.shadowRoot, ...walk(one.shadowRoot)] : []);
  return walk(document).some(root => root.querySelector('.card .where')?.textContent === where); }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("anomalies")
    planted.write_planted(folder / "planted").close()
    with serving("-m", "deeptracker.app.command", "serve", str(folder), "--port", "{port}") as root:
        yield f"{root}run?path={folder.name}/planted&v=anomalies"


@pytest.fixture
def open_findings(open_page: OpenPage) -> OpenPage:
    """Return a function that opens a page and turns to the single findings."""

    def opened(address: str, width: int = 1400, height: int = 900) -> Page:
        page = open_page(address, width, height)
        page.get_by_role("button", name="Findings", exact=True).click()
        page.get_by_role("listbox", name="Anomalies and landmarks").wait_for()
        return page

    return opened


def cards(page: Page, text: str = "") -> Locator:
    return page.locator(".episodes .card").filter(has_text=text)


def lines(page: Page, text: str = "") -> Locator:
    return page.locator(".anomalies .line").filter(has_text=text)


def chip(page: Page, rule: str) -> Locator:
    return page.get_by_role("group", name="Rules shown").get_by_role("button", name=rule)


def test_episodes_tell_what_came_first_and_what_followed_in_their_rank(address: str, open_page: OpenPage) -> None:
    page = open_page(address, 1400, 900)
    cards(page).first.wait_for()
    assert page.locator(".card .where").all_inner_texts() == ["layer stage1.1.conv", "the run as a whole", "validation"]
    scores = [float(text) for text in page.locator(".card .score b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] >= 100, "a NaN is certain"
    assert "held NaN or Inf from iteration 1,200 to 1,229" in page.locator(".card .first").first.inner_text()
    drop = cards(page, "the odds of the true class")
    assert "At the same time: validation loss is" in drop.locator(".followed").inner_text()
    assert re.search(r"Meanwhile \d+ images changed", drop.locator(".beside").first.inner_text())
    assert drop.locator("svg .made").count() == 1
    assert drop.locator("svg rect.beside").count() >= 4
    page.get_by_role("button", name="In order of time").click()
    page.wait_for_function(FIRST_CARD, arg="validation")
    starts = page.locator(".card").evaluate_all("all => all.map(one => Number(one.dataset.start))")
    assert starts == sorted(starts)


def test_an_episode_narrows_the_window_to_its_place_and_selects_its_layer(
    address: str, open_page: OpenPage, window_of: Window
) -> None:
    page = open_page(address, 1400, 900)
    cards(page, "stage1.1.conv held NaN").click()
    page.locator(".card.picked").filter(has_text="held NaN").wait_for()
    page.wait_for_function("location.search.includes('l=stage1.1.conv')")
    start, stop = window_of(page)
    assert start <= planted.NAN[0] < planted.NAN[1] <= stop
    assert stop - start <= 4 * (planted.NAN[1] - planted.NAN[0])
    assert cards(page, "the odds of the true class").get_attribute("class") == "card validation away"
    page.get_by_role("listbox", name="Episodes").focus()
    page.keyboard.press("ArrowDown")
    page.locator(".card.picked").filter(has_text="loss jumped").wait_for()
    page.wait_for_function("!location.search.includes('l=stage1.1.conv')")
    start, stop = window_of(page)
    assert start <= planted.SPIKE < stop
    cards(page, "loss jumped").click()
    page.locator(".card.picked").wait_for(state="detached")


def test_a_stretch_without_an_episode_offers_the_findings(address: str, open_page: OpenPage) -> None:
    page = open_page(f"{address}&b=60-300", 1400, 900)
    page.get_by_role("heading", name="No episode in these iterations").wait_for()
    page.get_by_role("button", name="Findings", exact=True).click()
    lines(page, "filter 1 of stage1.0.conv changed").wait_for()


def test_every_planted_phenomenon_has_its_line(address: str, open_findings: OpenPage) -> None:
    page = open_findings(address, 1400, 900)
    lines(page).first.wait_for()
    for text in (
        "loss jumped to",
        "learning_rate fell from 0.1 to 0.01",
        "learning_rate fell from 0.01 to 0.001",
        "gradients of stage1.1.conv held NaN or Inf from iteration 1,200 to 1,229",
        "6 images of class dog flipped after a stable stretch",
        "3 filters of stage1.0.conv changed unlike their layer mates",
    ):
        assert lines(page, text).count() >= 1, text
    starts = [int(text.replace(",", "")) for text in page.locator(".line .when").all_inner_texts()]
    assert starts == sorted(starts)


def test_a_rule_is_hidden_and_shown_with_its_chip(address: str, open_findings: OpenPage) -> None:
    page = open_findings(address, 1400, 900)
    lines(page, "flipped after").first.wait_for()
    chip(page, "left flip").click()
    lines(page, "flipped after").first.wait_for(state="detached")
    assert lines(page, "loss jumped").count() == 1
    assert chip(page, "left flip").get_attribute("aria-pressed") == "false"
    chip(page, "left flip").click()
    lines(page, "flipped after").first.wait_for()


def test_a_line_jumps_to_its_place_in_every_view(address: str, open_findings: OpenPage, window_of: Window) -> None:
    page = open_findings(address, 1400, 900)
    lines(page, "loss jumped").click()
    page.locator(".line.picked").filter(has_text="loss jumped").wait_for()
    page.wait_for_function("location.search.includes('w=')")
    start, stop = window_of(page)
    assert start <= planted.SPIKE < stop
    assert stop - start <= planted.ITERATIONS / 10
    page.get_by_role("button", name="Let go of everything").click()
    target = lines(page, "3 filters of stage1.0.conv").first
    target.click()
    page.wait_for_function("location.search.includes('l=stage1.0.conv')")
    assert len(re.findall(r"f=\d+", page.url)) == 3
    page.get_by_role("button", name="Let go of everything").click()
    lines(page, "images of class dog flipped after").first.click()
    page.wait_for_function("location.search.includes('c=dog')")
    assert len(re.findall(r"i=dog-\d+", page.url)) >= 2


def test_arrow_keys_walk_along_the_list(address: str, open_findings: OpenPage) -> None:
    page = open_findings(address, 1400, 900)
    lines(page).first.wait_for()
    listed = page.get_by_role("listbox", name="Anomalies and landmarks")
    listed.focus()
    page.keyboard.press("ArrowDown")
    page.locator(".line.picked").wait_for()
    first = page.locator(".line.picked").get_attribute("data-row")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(
        "row => { const walk = (node) => [...node.querySelectorAll('*')].flatMap(one => one.shadowRoot ? "
        "[one.shadowRoot, ...walk(one.shadowRoot)] : []);"
        " return walk(document).some(root => { const on = root.querySelector('.line.picked');"
        " return on && on.dataset.row !== row; }); }",
        arg=first,
    )


def test_the_list_follows_window_and_brush(address: str, open_findings: OpenPage, frame_of: Frame) -> None:
    page = open_findings(f"{address}&w=880-1010", 1400, 900)
    lines(page, "loss jumped").wait_for()
    assert lines(page, "learning_rate fell from 0.1").get_attribute("class") == "line away"
    assert lines(page, "loss jumped").get_attribute("class") == "line"
    page.get_by_label("On screen only").check()
    lines(page, "learning_rate fell from 0.1").wait_for(state="detached")
    starts = [int(text.replace(",", "")) for text in page.locator(".line .when").all_inner_texts()]
    assert min(starts) >= 860
    assert max(starts) < 1010
    left, top, width, height = frame_of(page, STRIP)
    page.mouse.move(left + width * 0.5, top + height / 2)
    page.mouse.down()
    page.mouse.move(left + width * 0.9, top + height / 2, steps=6)
    page.mouse.up()
    page.get_by_text(re.compile("Iterations 9[34]\\d to 99\\d brushed")).wait_for()
    assert lines(page, "loss jumped").count() == 0


def test_a_threshold_is_changed_and_searched_with(address: str, open_findings: OpenPage) -> None:
    page = open_findings(address, 1400, 900)
    lines(page, "loss jumped").wait_for()
    page.get_by_role("button", name="Thresholds").click()
    page.get_by_role("combobox", name="Rule").click()
    page.get_by_role("menuitem", name="Loss spike").click()
    page.get_by_text("A loss jumps far above").wait_for()
    value = page.locator(".thresholds").get_by_role("textbox").first
    page.wait_for_timeout(500)
    value.click()
    page.keyboard.press("Control+A")
    page.keyboard.type("900")
    page.keyboard.press("Tab")
    lines(page, "loss jumped").wait_for(state="detached")
    page.get_by_role("button", name="Defaults").click()
    lines(page, "loss jumped").wait_for()


def test_nothing_found_is_said(address: str, open_findings: OpenPage) -> None:
    page = open_findings(f"{address}&b=100-110", 1400, 900)
    page.get_by_text("Nothing unusual was found in these iterations.").wait_for()
    assert lines(page).count() == 0


def test_episodes_of_a_run_that_is_being_recorded_appear_by_themselves(tmp_path: Path, open_page: OpenPage) -> None:
    writer = planted.write_planted(tmp_path / "live" / "run", iterations=60)
    with serving("-m", "deeptracker.app.command", "serve", str(tmp_path / "live"), "--port", "{port}") as root:
        page = open_page(f"{root}run?path=live/run&v=anomalies&theme=dark", 1400, 900)
        # The first page of a server compiles what it draws with, where nothing is cached yet.
        page.get_by_role("heading", name="Still too early").wait_for(timeout=90_000)
        assert page.get_by_text("there are 60 iterations so far").count() == 1
        planted.extend_planted(writer, 60, 700)
        cards(page, "the odds of the true class").wait_for()
        assert cards(page, "the odds of the true class").locator(".new").count() == 1
        cards(page, "the odds of the true class").click()
        page.locator(".card.picked").wait_for()
        planted.extend_planted(writer, 700, planted.ITERATIONS)
        cards(page, "stage1.1.conv held NaN").wait_for()
        assert page.locator(".card.picked").filter(has_text="the odds of the true class").count() == 1
    writer.close()


def test_a_run_that_is_being_recorded_is_followed(tmp_path: Path, open_findings: OpenPage) -> None:
    writer = planted.write_planted(tmp_path / "live" / "run", iterations=700)
    with serving("-m", "deeptracker.app.command", "serve", str(tmp_path / "live"), "--port", "{port}") as root:
        page = open_findings(f"{root}run?path=live/run&v=anomalies&theme=dark", 1400, 900)
        # The first page of a server compiles what it draws with, where nothing is cached yet.
        lines(page, "learning_rate fell from 0.1").wait_for(timeout=90_000)
        assert lines(page, "loss jumped").count() == 0
        lines(page, "learning_rate fell from 0.1").click()
        page.locator(".line.picked").wait_for()
        page.get_by_role("button", name="Let go of everything").click()
        planted.extend_planted(writer, 700, planted.ITERATIONS)
        lines(page, "loss jumped").wait_for()
    writer.close()
