"""The Validation and Layers views on a recorded run: one zoom moves every wall, one click opens what is below."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from tests import planted
from tests.browser.conftest import serving

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


FILTER_LINES = """() => { const figure = Bokeh.documents[0].get_model_by_name("filter lines");
  if (!figure || !figure.renderers[0].data_source.data.image[0].shape) return null;
  const source = figure.renderers[0].data_source, image = source.data.image[0], lines = figure.renderers.slice(4);
  return {shape: image.shape, values: Array.from(image), x: source.data.x[0], y: source.data.y[0],
    dw: source.data.dw[0], dh: source.data.dh[0], label: figure.yaxis?.[0]?.axis_label ?? figure.left[0].axis_label,
    picked: lines[0].data_source.data.xs.length, inner: [figure.inner_height, figure.inner_width]}; }"""
LINES_DRAWN = f"() => {{ const found = ({FILTER_LINES})(); return found && found.shape[0] > 2 && found.x === 0; }}"


@pytest.fixture(scope="module")
def planted_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("views")
    planted.write_planted(folder / "planted").close()
    with serving("-m", "deeptracker.app.command", "serve", str(folder), "--port", "{port}") as root:
        yield f"{root}run?path={folder.name}/planted"


def filter_lines(page: Page) -> tuple[np.ndarray, dict[str, Any]]:
    found = page.evaluate(FILTER_LINES)
    return np.array(found["values"], np.uint8).reshape(found["shape"]), found


def test_the_lines_of_all_filters_show_single_spikes_at_every_zoom(
    planted_address: str, open_page: OpenPage, frame_of: Callable[..., tuple[float, float, float, float]]
) -> None:
    layer = planted.LAYERS[planted.LINKS[0][0]].name
    page = open_page(f"{planted_address}&v=layers&l={layer}", 1400, 900)
    page.get_by_role("button", name="Lines", exact=True).click()
    page.wait_for_function(LINES_DRAWN, timeout=WAIT)
    picture, found = filter_lines(page)
    assert list(picture.shape) == found["inner"], "as many pixels as the screen has"
    assert found["label"] == "relative change l2"
    assert (found["x"], found["dw"]) == (0, planted.ITERATIONS)
    # The shocks are single records, forty times the middle: they alone reach into the upper third.
    upper = (picture[2 * picture.shape[0] // 3 :] > 1).any(axis=0)
    spikes = int((np.diff(np.concatenate([[0], upper.astype(int)])) == 1).sum())
    assert 5 <= spikes <= 12
    left, top, _, height = frame_of(page, "filter lines")
    column = int(np.flatnonzero(upper)[0])
    row = int(np.flatnonzero(picture[:, column] > 1)[-1])
    page.mouse.click(left + column + 0.5, top + height - row - 0.5)
    page.wait_for_url(re.compile("f=[0-9]+"), timeout=WAIT)
    chosen = int(re.findall(r"f=(\d+)", page.url)[0])
    assert planted.LINKS[0][0] * planted.FILTERS <= chosen < (planted.LINKS[0][0] + 1) * planted.FILTERS
    page.wait_for_function(f"() => ({FILTER_LINES})().picked === 1", timeout=WAIT)
    page.mouse.move(left + column, top + height / 2)
    for _ in range(3):
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(60)
    page.wait_for_function(f"() => ({FILTER_LINES})().dw < {planted.ITERATIONS / 2}", timeout=WAIT)
    page.wait_for_timeout(400)
    closer, found = filter_lines(page)
    assert list(closer.shape) == found["inner"]
    assert (closer[2 * closer.shape[0] // 3 :] > 1).any()
    before = found["dh"]
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function(f"() => ({FILTER_LINES})().dh < {0.95 * before}", timeout=WAIT)
    page.get_by_role("button", name="Heat map", exact=True).click()
    page.get_by_text(re.compile(r"12 filters")).wait_for()
    page.locator(".filter-density").wait_for(state="hidden")
