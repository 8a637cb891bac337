"""A wall by keyboard alone, with real keys: pointing, zooming, picking, folding, closing; and the list of the keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Window = Callable[["Page"], tuple[float, float]]
FOCUSED = """() => {
 let at = document.activeElement;
 while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
 if (!at?.deeptracker_keys) return null;
 return [at.classList.contains("by-keys"), getComputedStyle(at, "::after").borderTopWidth];
}"""
TIP = "words => document.getElementById('deeptracker-tip')?.style.display !== 'none'" + (
    " && document.getElementById('deeptracker-tip')?.innerText.includes(words)"
)


@pytest.fixture
def layers_page(run_address: str, open_page: OpenPage) -> Page:
    """Open the layers alone, and tab into their wall."""
    page = open_page(f"{run_address}&v=layers")
    page.wait_for_function("Object.values(window.deeptracker_walls ?? {}).some(wall => wall.pictures > 0)")
    page.wait_for_timeout(1000)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED):
            return page
    raise AssertionError("no wall takes the focus")


def test_rows_are_pointed_at_and_picked(layers_page: Page) -> None:
    page = layers_page
    assert page.evaluate(FOCUSED) == [True, "2px"], "the focus is seen"
    page.keyboard.press("ArrowDown")
    page.wait_for_function(TIP, arg="conv1")
    page.keyboard.press("ArrowDown")
    page.wait_for_function(TIP, arg="bn1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("layer bn1").wait_for()
    page.wait_for_url(re.compile("l=bn1"))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Control+Enter")
    page.get_by_text("layers bn1, conv1").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Drag across the timeline").wait_for()
    assert page.evaluate("getComputedStyle(document.getElementById('deeptracker-tip')).display") == "none"


def test_iterations_are_zoomed(layers_page: Page, window_of: Window) -> None:
    page = layers_page
    whole = window_of(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_url(re.compile("w="))
    start, stop = window_of(page)
    assert stop - start == pytest.approx(160 / 2.25, rel=0.05)
    page.keyboard.press("End")
    page.wait_for_function("Bokeh.documents[0].get_model_by_name('iterations').end >= 159.5")
    assert window_of(page)[1] - window_of(page)[0] == pytest.approx(stop - start, rel=0.05)
    page.keyboard.press("Home")
    page.wait_for_function("Bokeh.documents[0].get_model_by_name('iterations').start <= 0.5")
    page.keyboard.press("-")
    page.wait_for_timeout(300)
    assert window_of(page)[1] - window_of(page)[0] > stop - start
    page.keyboard.press("0")
    page.get_by_text("Drag across the timeline").wait_for()
    assert window_of(page) == whole


def rows_of(page: Page) -> Any:
    return page.evaluate(
        "[...Bokeh.documents[0].all_models].filter(m => m.type === 'ColumnDataSource' && m.tags.length === 1"
        " && Number.isInteger(m.tags[0])).map(m => m.tags[0]).sort((a, b) => b - a)[0]"
    )


def test_groups_fold(layers_page: Page) -> None:
    page = layers_page
    before = rows_of(page)
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_function(
        "before => [...Bokeh.documents[0].all_models].filter(m => m.type === 'ColumnDataSource' && m.tags.length === 1"
        " && Number.isInteger(m.tags[0])).map(m => m.tags[0]).sort((a, b) => b - a)[0] < before",
        arg=before,
    )


def test_the_keys_are_listed(run_address: str, open_page: OpenPage) -> None:
    page = open_page(run_address)
    page.keyboard.press("?")
    page.get_by_text("Fold or unfold the group").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Fold or unfold the group").wait_for(state="hidden")
    page.wait_for_timeout(1000)
    page.keyboard.press("?")  # the server has heard that it was closed
    page.get_by_text("Fold or unfold the group").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Fold or unfold the group").wait_for(state="hidden")
    page.get_by_placeholder("Find a class").press_sequentially("?")
    page.wait_for_timeout(500)
    assert (
        page.get_by_text("Fold or unfold the group").count() == 0 or not page.get_by_text("Fold or unfold").is_visible()
    )
