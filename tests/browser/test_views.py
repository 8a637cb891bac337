"""The Validation and Layers views on a recorded run: one zoom moves every wall, one click opens what is below."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from deeptracker.data_model.image_events import event_counts
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.vocabulary import EVENTS
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
    page.locator(".legend").get_by_text("forgotten", exact=True).wait_for(timeout=WAIT)
    page.wait_for_function(f"{DRAWN}.length > {before}", timeout=WAIT)


def test_a_click_on_a_layer_opens_its_filters(page: Page) -> None:
    before = page.evaluate(f"{DRAWN}.length")
    left, top, width, height = wall(page, 2)
    page.mouse.click(left + 0.6 * width, top + height - 3)  # the last row is the fully connected layer
    page.wait_for_url(re.compile("l=fc"), timeout=WAIT)
    page.get_by_text(re.compile(r"10 filters")).wait_for(timeout=WAIT)
    page.wait_for_function(f"{DRAWN}.length > {before}", timeout=WAIT)
    # The picture covers what its range shows: all ten rows, from the first one on.
    page.wait_for_function(f"{DRAWN}.some(wall => wall.dh === 10 && wall.y === -10)", timeout=WAIT)


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


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run as the one that is served, for what it holds."""
    path = tmp_path_factory.mktemp("values") / "planted"
    planted.write_planted(path).close()
    return open_run(path)


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


def columns(page: Page, figure: str, renderer: int, *names: str) -> dict[str, list[Any]]:
    """Return columns of what a figure draws."""
    return page.evaluate(  # type: ignore[no-any-return]
        "([figure, renderer, names]) => { const found = Bokeh.documents[0].get_model_by_name(figure);"
        " const data = found.renderers[renderer].data_source.data;"
        " return Object.fromEntries(names.map(name => [name, Array.from(data[name])])); }",
        [figure, renderer, list(names)],
    )


HAS = "([figure, renderer, column]) => Bokeh.documents[0].get_model_by_name(figure)?.renderers[renderer]" + (
    "?.data_source.data[column].length > 0"
)


def test_an_image_opens_its_probability_what_it_was_taken_for_and_its_outliers(
    planted_address: str, open_page: OpenPage, planted_run: Run
) -> None:
    page = open_page(f"{planted_address}&v=validation&c=yak", 1400, 900)
    page.get_by_text("12 images").wait_for(timeout=WAIT)
    page.wait_for_function(f"{DRAWN}.length >= 3", timeout=WAIT)
    left, top, width, height = wall(page, 2)
    page.mouse.click(left + 0.6 * width, top + 0.3 * height)
    page.wait_for_url(re.compile("i=yak-[0-9]+"), timeout=WAIT)
    name = re.findall(r"i=(yak-\d+)", page.url)[0]
    page.wait_for_function(HAS, arg=["image over time", 1, "x"], timeout=WAIT)
    page.locator(".told b", has_text=name).wait_for()
    number = [str(one) for one in planted_run.images["id"].values].index(name)
    results = planted_run.validation_results([number])
    drawn = columns(page, "image over time", 1, "x", "y", "color")
    assert drawn["x"] == results.iteration.tolist()
    assert np.allclose(drawn["y"], results.probability[:, 0])
    assert len(set(drawn["color"])) == len(set(results.right[:, 0]))
    stretches = columns(page, "image over time", 2, "left", "answer", "count")
    assert sum(stretches["count"]) == len(results.iteration)
    names = planted_run.class_names
    at = np.searchsorted(stretches["left"], results.iteration, side="right") - 1
    assert [stretches["answer"][one] for one in at] == [names[one] for one in results.predicted[:, 0]]
    anomalies = planted_run.anomalies()
    mine = anomalies[(anomalies["kind"] == "image") & (anomalies["entity"] == name)]
    page.wait_for_function(
        "count => Bokeh.documents[0].get_model_by_name('image over time').renderers[4].data_source.data.x.length"
        " === count",
        arg=len(mine),
        timeout=WAIT,
    )


def test_the_data_map_places_the_images_and_picks_them(
    planted_address: str,
    open_page: OpenPage,
    planted_run: Run,
    frame_of: Callable[..., tuple[float, float, float, float]],
) -> None:
    page = open_page(f"{planted_address}&v=validation&c=dog", 1400, 900)
    page.get_by_role("button", name="Data map", exact=True).click()
    page.wait_for_function(HAS, arg=["data map", 0, "x"], timeout=WAIT)
    drawn = columns(page, "data map", 0, "x", "y", "id")
    table = planted_run.image_insight(images=planted_run.images_of("dog")).set_index("id").loc[drawn["id"]]
    assert len(table) == planted.IMAGES
    assert np.allclose(drawn["x"], table["variability"])
    assert np.allclose(drawn["y"], table["confidence"])
    page.wait_for_timeout(400)
    left, top, width, height = frame_of(page, "data map")
    ends = page.evaluate(
        "() => { const map = Bokeh.documents[0].get_model_by_name('data map');"
        " return [map.x_range.start, map.x_range.end, map.y_range.start, map.y_range.end]; }"
    )
    x = left + (drawn["x"][0] - ends[0]) / (ends[1] - ends[0]) * width
    y = top + (ends[3] - drawn["y"][0]) / (ends[3] - ends[2]) * height
    page.mouse.click(x, y)
    page.wait_for_url(re.compile("i=dog-[0-9]+"), timeout=WAIT)
    assert f"i={drawn['id'][0]}" in page.url
    page.wait_for_function(HAS, arg=["data map", 1, "x"], timeout=WAIT)
    page.locator(".told b", has_text=drawn["id"][0]).wait_for()


def test_the_events_of_all_images_are_drawn_as_shares(
    planted_address: str, open_page: OpenPage, planted_run: Run
) -> None:
    page = open_page(f"{planted_address}&v=validation", 1400, 900)
    page.get_by_role("button", name="Events", exact=True).click()
    page.wait_for_function(HAS, arg=["event shares", 0, "left"], timeout=WAIT)
    drawn = columns(page, "event shares", 0, "left", "share", "what", "top")
    counted = event_counts(planted_run.validation_results().correct)
    images = planted.IMAGES * len(planted.CLASSES)
    for number, event in enumerate(EVENTS):
        mine = [share for share, what in zip(drawn["share"], drawn["what"], strict=True) if what.endswith(f"({event})")]
        if event in ("n-y", "y-n"):
            assert np.isclose(sum(mine), counted[:, number].sum() / images)
            assert mine
    assert np.isclose(max(drawn["top"]), 1)
    page.wait_for_function(HAS, arg=["outliers", 0, "count"], timeout=WAIT)
    outliers = planted_run.anomalies()["rule"].isin(["left_flip", "right_flip"]).sum()
    assert sum(columns(page, "outliers", 0, "count")["count"]) == outliers
    page.get_by_role("button", name="Curves", exact=True).click()
    page.locator(".events").wait_for(state="hidden")
