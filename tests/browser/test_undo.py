"""Undo and redo in a real browser: by button, by key, and by the browser's own back and forward."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Window = Callable[["Page"], tuple[float, float]]
Frame = Callable[..., tuple[float, float, float, float]]
WHOLE = (0, 160)


def draw(page: Page, frame_of: Frame, start: float, stop: float) -> None:
    """Draw a window on the timeline, and wait until the address tells of it."""
    left, top, width, height = frame_of(page)
    before = page.url
    # Over a part of the run its box would be dragged: begin outside of it.
    page.mouse.move(left + width * start, top + height / 2)
    page.mouse.down()
    page.mouse.move(left + width * (start + stop) / 2, top + height / 2, steps=4)
    page.mouse.move(left + width * stop, top + height / 2, steps=4)
    page.mouse.up()
    page.wait_for_function("before => location.href !== before && location.search.includes('w=')", arg=before)
    page.wait_for_timeout(300)


def calm(page: Page) -> Page:
    """Wait until all walls are drawn: a server that is still busy may split a gesture in two."""
    page.wait_for_function("Object.keys(window.deeptracker_walls ?? {}).length >= 3")
    page.wait_for_timeout(1500)
    return page


def wait_for_window(page: Page, expected: tuple[float, float]) -> None:
    page.wait_for_function(
        "([start, end]) => { const range = Bokeh.documents[0].get_model_by_name('iterations');"
        " return Math.abs(range.start - start) < 1.5 && Math.abs(range.end - end) < 1.5; }",
        arg=list(expected),
    )


def test_buttons_and_keys_take_back_one_gesture(
    run_address: str, open_page: OpenPage, window_of: Window, frame_of: Frame
) -> None:
    page = calm(open_page(run_address))
    undo, redo = (page.get_by_role("button", name=re.compile(name)) for name in ("Undo", "Redo"))
    assert undo.is_disabled()
    assert redo.is_disabled()
    left, top, width, height = frame_of(page)
    page.mouse.move(left + width * 0.25, top + height / 2)
    for _ in range(4):
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(50)
    page.wait_for_url(re.compile("w=[0-9]"))
    page.wait_for_timeout(500)
    zoomed = window_of(page)
    assert zoomed[1] - zoomed[0] < 120
    page.wait_for_timeout(500)
    undo.click()  # the whole gesture, not its last notch
    wait_for_window(page, WHOLE)
    page.get_by_text("Drag across the timeline").wait_for()
    assert undo.is_disabled()
    redo.click()
    wait_for_window(page, zoomed)
    page.keyboard.press("Control+z")
    wait_for_window(page, WHOLE)
    page.keyboard.press("Control+Shift+Z")
    wait_for_window(page, zoomed)
    page.get_by_text("Reset").click()
    wait_for_window(page, WHOLE)
    page.keyboard.press("Control+z")  # what was let go of by mistake
    wait_for_window(page, zoomed)


def test_the_browsers_back_button_takes_back_a_step(
    run_address: str, open_page: OpenPage, window_of: Window, frame_of: Frame
) -> None:
    page = calm(open_page(run_address))
    draw(page, frame_of, 0.3, 0.6)
    first = window_of(page)
    page.wait_for_timeout(2500)
    draw(page, frame_of, 0.7, 0.9)
    second = window_of(page)
    assert second[0] > first[1]
    page.evaluate("history.back()")
    wait_for_window(page, first)
    page.evaluate("history.back()")
    wait_for_window(page, WHOLE)
    page.evaluate("history.forward()")
    wait_for_window(page, first)
    page.evaluate("history.forward()")
    wait_for_window(page, second)
    page.reload()
    page.wait_for_function("window.Bokeh?.documents?.length > 0 && Bokeh.documents[0].is_idle")
    wait_for_window(page, second)
    page.wait_for_timeout(3000)
    page.evaluate("history.back()")  # to a step of the page before it was loaded anew
    wait_for_window(page, first)


def test_typing_keeps_its_own_undo(run_address: str, open_page: OpenPage, window_of: Window, frame_of: Frame) -> None:
    page = calm(open_page(run_address))
    draw(page, frame_of, 0.3, 0.6)
    zoomed = window_of(page)
    field = page.get_by_placeholder("Find a class")
    field.press_sequentially("7")
    page.keyboard.press("Control+z")
    page.wait_for_timeout(600)
    assert field.input_value() == ""
    assert window_of(page) == pytest.approx(zoomed)
