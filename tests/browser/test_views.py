"""The Validation and Layers views on a recorded run: one zoom moves every wall, one click opens what is below."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
WAIT = 90_000

DRAWN = "Object.values(window.deeptracker_walls ?? {}).filter(wall => wall.pictures > 0)"
SAME_PLACE = f"""([start, stop]) => {{
  const walls = {DRAWN};
  const close = wall => Math.abs(wall.x - start) <= 2 && Math.abs(wall.x + wall.dw - stop) <= 2;
  return walls.length > 0 && walls.every(close);
}}"""


@pytest.fixture
def page(run_address: str, open_page: OpenPage) -> Page:
    """The run's page with both views, every wall drawn: the curves, the classes, the layers."""
    page = open_page(f"{run_address}&v=validation,layers", 1600, 1000)
    page.wait_for_function(f"{DRAWN}.length >= 3", timeout=WAIT)
    return page


def wall(page: Page, number: int) -> tuple[float, float, float, float]:
    """Return (left, top, width, height) of a wall on the screen, column by column from the top left."""
    boxes = [one.bounding_box() for one in page.locator(".wall").filter(visible=True).all()]
    places = sorted({(box["x"], box["y"], box["width"], box["height"]) for box in boxes if box is not None})
    return places[number]


def test_the_wheel_over_one_wall_moves_them_all(page: Page, window_of: Callable[[Page], tuple[float, float]]) -> None:
    whole = window_of(page)
    left, top, width, height = wall(page, 2)
    page.mouse.move(left + 0.6 * width, top + 0.6 * height)
    for _ in range(4):
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(40)
    page.wait_for_url(re.compile("w=[0-9]"), timeout=WAIT)
    start, stop = window_of(page)
    assert whole[0] < start < stop < whole[1]
    page.wait_for_function(SAME_PLACE, arg=[start, stop], timeout=WAIT)


def test_a_click_on_a_class_opens_its_images(page: Page) -> None:
    before = page.evaluate(f"{DRAWN}.length")
    left, top, width, height = wall(page, 1)
    page.mouse.click(left + 0.6 * width, top + 0.5 * height)
    page.wait_for_url(re.compile("c=[0-9]"), timeout=WAIT)
    page.get_by_text("forgotten", exact=True).wait_for(timeout=WAIT)
    page.wait_for_function(f"{DRAWN}.length > {before}", timeout=WAIT)


def test_a_click_on_a_layer_opens_its_filters(page: Page) -> None:
    before = page.evaluate(f"{DRAWN}.length")
    left, top, width, height = wall(page, 2)
    page.mouse.click(left + 0.6 * width, top + height - 3)  # the last row is the fully connected layer
    page.wait_for_url(re.compile("l=fc"), timeout=WAIT)
    page.get_by_text(re.compile(r"10 filters")).wait_for(timeout=WAIT)
    page.wait_for_function(f"{DRAWN}.length > {before}", timeout=WAIT)
