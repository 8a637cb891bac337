"""The correlation view in a real browser, on a run with planted links: faces, brush, cells, cube, themes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from deeptracker.app.face_plot import FAINTEST
from tests import planted
from tests.browser.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Frame = Callable[..., tuple[float, float, float, float]]

CLASS_FACE, LAYER_FACE, PAIR_FACE = "class x iteration", "layer x iteration", "layer x class"
TILE = """name => {
  const figure = Bokeh.documents[0].get_model_by_name(name);
  const source = figure.renderers[0].data_source; const image = source.data.image[0];
  return {shape: image.shape, values: Array.from(image), x: source.data.x[0], dw: source.data.dw[0],
          range: [figure.x_range.start, figure.x_range.end]};
}"""
OBSERVED = "name => Bokeh.documents[0].get_model_by_name(name).renderers[0].data_source.data.observed[0]"
WAIT = 90_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("correlation")
    planted.write_planted(folder / "planted").close()
    with serving("-m", "deeptracker.app.command", "serve", str(folder), "--port", "{port}") as root:
        yield f"{root}run?path={folder.name}/planted&v=correlation"


def tile(page: Page, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    found = page.evaluate(TILE, name)
    return np.array(found["values"], np.uint8).reshape(found["shape"]), found


def found(page: Page) -> None:
    """Wait until the search is done and drawn."""
    page.get_by_text("Strongest pairs").wait_for()
    page.locator(".pair").first.wait_for()


def centre(page: Page, frame_of: Frame, layer: int, class_: int) -> tuple[float, float]:
    left, top, width, height = frame_of(page, PAIR_FACE)
    layers = len([one for one in planted.LAYERS if one.filters])
    return left + width * (class_ + 0.5) / len(planted.CLASSES), top + height * (layer + 0.5) / layers


def test_the_faces_show_what_was_planted(address: str, open_page: OpenPage) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    classes, drawn = tile(page, CLASS_FACE)
    linked = {class_ for _, class_ in planted.LINKS}
    flipped = {row for row in range(len(planted.CLASSES)) if (classes[row] >= FAINTEST).any()}
    assert flipped == linked
    assert drawn["range"] == [0, planted.ITERATIONS]
    layers, _ = tile(page, LAYER_FACE)
    busy = (layers[::-1] >= FAINTEST).sum(axis=1)
    assert set(np.argsort(busy)[-2:]) == {layer for layer, _ in planted.LINKS}
    strong, _ = tile(page, PAIR_FACE)
    highest = np.argsort(strong[::-1].ravel())[-2:]
    assert {divmod(int(place), len(planted.CLASSES)) for place in highest} == set(planted.LINKS)
    names = {page.locator(".pair").nth(row).inner_text() for row in range(2)}
    assert all(re.search(r"q (0\.0|\d\.\de-)", name) for name in names)


def test_faces_line_up_where_they_share_an_axis(address: str, open_page: OpenPage, frame_of: Frame) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    above, below, beside = (frame_of(page, name) for name in (CLASS_FACE, LAYER_FACE, PAIR_FACE))
    assert (above[0], above[2]) == pytest.approx((below[0], below[2]), abs=1)
    assert (beside[1], beside[3]) == pytest.approx((below[1], below[3]), abs=1)
    assert min(above[3], below[3], beside[2]) > 100


def test_a_wheel_notch_zooms_both_faces_and_every_other_view(
    address: str, open_page: OpenPage, frame_of: Frame, window_of: Callable[[Page], tuple[float, float]]
) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    left, top, width, height = frame_of(page, LAYER_FACE)
    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "name => Bokeh.documents[0].get_model_by_name(name).renderers[0].data_source.data.dw[0] < 1400",
        arg=CLASS_FACE,
        timeout=WAIT,
    )
    _, drawn = tile(page, CLASS_FACE)
    start, stop = window_of(page)
    assert 0 < start < stop < planted.ITERATIONS
    assert drawn["x"] == pytest.approx(start, abs=2)
    assert drawn["x"] + drawn["dw"] == pytest.approx(stop, abs=2)


def test_brushing_recomputes_the_pairs(address: str, open_page: OpenPage, frame_of: Frame) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    before, _ = tile(page, PAIR_FACE)
    total = page.evaluate(f"name => ({OBSERVED})(name).reduce((a, b) => a + b)", PAIR_FACE)
    left, top, width, height = frame_of(page, CLASS_FACE)
    page.mouse.move(left + width * 0.30, top + height / 2)
    page.mouse.down()
    page.mouse.move(left + width * 0.70, top + height / 2, steps=8)
    page.mouse.up()
    page.get_by_text(re.compile(r"\d+ bins between validations brushed")).wait_for()
    changed = f"([name, sum]) => ({OBSERVED})(name).reduce((a, b) => a + b) < sum"
    page.wait_for_function(changed, arg=[PAIR_FACE, total], timeout=WAIT)
    brushed = re.search(r"b=(\d+)-(\d+)", wait_for_address(page, "b="))
    assert brushed is not None
    start, stop = int(brushed[1]), int(brushed[2])
    assert start % planted.EVERY == stop % planted.EVERY == 0, "whole bins are brushed"
    assert (start, stop) == pytest.approx((450, 1050), abs=2 * planted.EVERY)
    page.get_by_role("button", name="Clear the brush").click()
    page.get_by_text(re.compile(r"99 bins between validations on screen")).wait_for()
    page.wait_for_function(
        f"([name, sum]) => ({OBSERVED})(name).reduce((a, b) => a + b) === sum", arg=[PAIR_FACE, total]
    )
    again, _ = tile(page, PAIR_FACE)
    assert (again == before).all()


def wait_for_address(page: Page, part: str) -> str:
    page.wait_for_function("part => location.search.includes(part)", arg=part, timeout=WAIT)
    return page.url


def test_a_cell_shows_its_filters_and_images_and_picks_them_everywhere(
    address: str, open_page: OpenPage, frame_of: Frame
) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    layer, class_ = planted.LINKS[0]
    page.mouse.click(*centre(page, frame_of, layer, class_))
    page.get_by_role("heading", name=f"{planted.LAYERS[layer].name} with {planted.CLASSES[class_]}").wait_for()
    assert page.locator(".behind .image img").count() >= 8
    assert page.locator(".behind .chip").count() >= 6
    url = wait_for_address(page, f"c={planted.CLASSES[class_]}")
    assert f"l={planted.LAYERS[layer].name}" in url
    outlined = "name => Bokeh.documents[0].get_model_by_name(name).renderers.slice(2).map(r => r.data_source.data.low)"
    assert page.evaluate(outlined, CLASS_FACE)[0] == [class_ - 0.5]
    assert page.evaluate(outlined, PAIR_FACE) == [[-layer - 0.5], [class_ - 0.5]]
    page.locator(".behind .image").first.click()
    wait_for_address(page, f"i={planted.CLASSES[class_]}-")
    page.locator(".behind .image.picked").wait_for()
    page.mouse.click(*centre(page, frame_of, layer, class_))
    found(page)


def test_the_hover_gives_exact_numbers(address: str, open_page: OpenPage, frame_of: Frame) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    layer, class_ = planted.LINKS[1]
    page.mouse.move(*centre(page, frame_of, layer, class_))
    tooltip = page.locator(".bk-Tooltip table").filter(has_text="expected")
    tooltip.wait_for()
    words = re.sub(r"\s+", " ", tooltip.inner_text())
    assert re.search(
        rf"layer {re.escape(planted.LAYERS[layer].name)} class {planted.CLASSES[class_]} coincidences \d+ "
        r"expected [\d.]+ lift [\d.]+ p [\d.e-]+ q [\d.e-]+",
        words,
    ), words


def test_the_cube_folds_turns_and_picks_without_a_mouse_too(address: str, open_page: OpenPage) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    page.get_by_role("button", name="Fold up").click()
    cube = page.get_by_role("application", name=re.compile("Correlation cube"))
    cube.wait_for()
    page.wait_for_timeout(900)
    body = page.locator(".stage .body")
    turned = body.evaluate("node => node.style.transform")
    cube.focus()
    page.keyboard.press("ArrowRight")
    assert body.evaluate("node => node.style.transform") != turned
    page.keyboard.press("Home")
    assert body.evaluate("node => node.style.transform") == turned
    box = cube.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 24
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y - 50, steps=5)
    page.mouse.up()
    dragged = [float(one) for one in re.findall(r"-?[\d.]+(?=deg)", body.evaluate("node => node.style.transform"))]
    home = [float(one) for one in re.findall(r"-?[\d.]+(?=deg)", turned)]
    assert dragged == pytest.approx([home[0] + 15, home[1] + 30])
    page.keyboard.press("Home")
    page.wait_for_timeout(800)
    last = planted.ITERATIONS - 1
    assert page.locator(".stage .label.iteration").inner_text().endswith(f"\u2192 {last - last % planted.EVERY + 14:,}")
    assert page.locator(".stage .label.class").inner_text() == "class cat \u2192 yak"
    assert page.locator(".stage .tile").evaluate_all("all => all.map(one => one.naturalWidth)") == [99, 99, 4]
    page.locator(".stage .face.pair").hover()
    page.locator(".stage .note").filter(has_text="sd more than chance").wait_for()
    page.locator(".stage .face.pair").click()
    url = wait_for_address(page, "l=stage")
    page.get_by_role("button", name="Unfold").click()
    page.locator(".face-pair").wait_for()
    layer = [one.name for one in planted.LAYERS].index(re.findall(r"l=([\w.]+)", url)[0])
    outlined = "name => Bokeh.documents[0].get_model_by_name(name).renderers[2].data_source.data.low"
    assert page.evaluate(outlined, LAYER_FACE) == [-layer - 0.5], "what is picked on the cube is picked on the faces"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_paint_the_faces(
    address: str, open_page: OpenPage, frame_of: Frame, theme: str, tmp_path: Path
) -> None:
    from PIL import Image

    page = open_page(f"{address}&theme={theme}", 1400, 900)
    found(page)
    page.wait_for_timeout(300)
    page.screenshot(path=tmp_path / "page.png")
    shot = np.asarray(Image.open(tmp_path / "page.png").convert("L"), float)
    left, top, width, height = (round(part) for part in frame_of(page, CLASS_FACE))
    beside = shot[top + 4 : top + height, left - 12 : left - 8].mean()
    assert (beside > 230) if theme == "light" else (beside < 60), "the face stands on the card, not on a patch"
    assert shot[top : top + height, left : left + width].std() > 10


def test_too_early_is_said_and_the_cube_comes_by_itself(tmp_path: Path, open_page: OpenPage) -> None:
    writer = planted.write_planted(tmp_path / "early" / "run", iterations=planted.EVERY + 1)
    with serving("-m", "deeptracker.app.command", "serve", str(tmp_path / "early"), "--port", "{port}") as root:
        page = open_page(f"{root}run?path=early/run&v=correlation", 1400, 900)
        page.get_by_text("Too early for the cube").wait_for()
        assert page.get_by_text("One validation has been recorded so far").count() == 1
        planted.extend_planted(writer, planted.EVERY + 1, planted.ITERATIONS)
        found(page)
        page.get_by_text(re.compile("99 bins")).wait_for()
    writer.close()


EVENTS_DRAWN = """name => { const figure = Bokeh.documents[0].get_model_by_name(name);
  const image = figure.renderers[0].data_source.data.image[0];
  return image.shape && image.shape[1] === figure.inner_width && image.shape[0] === figure.inner_height; }"""


def test_single_events_are_drawn_at_their_place_zoomed_by_rows_and_picked(
    address: str, open_page: OpenPage, frame_of: Frame
) -> None:
    page = open_page(address, 1400, 900)
    found(page)
    page.get_by_role("button", name="Single events", exact=True).click()
    for name in (CLASS_FACE, LAYER_FACE):
        page.wait_for_function(EVENTS_DRAWN, arg=name, timeout=WAIT)
    picture, drawn = tile(page, CLASS_FACE)
    height, width = picture.shape
    linked = sorted(class_ for _, class_ in planted.LINKS)
    lines = np.flatnonzero((picture >= FAINTEST).any(axis=1)) / height * len(planted.CLASSES)
    assert sorted({int(line) for line in lines}) == linked, "events lie in the rows of their classes"
    columns = np.flatnonzero((picture >= FAINTEST).any(axis=0)) / width * planted.ITERATIONS
    away = (columns - planted.EVERY + 1 + planted.EVERY / 2) % planted.EVERY - planted.EVERY / 2
    assert np.abs(away).max() < 5 * planted.ITERATIONS / width, "images flip at validations"
    left, top, _, _ = frame_of(page, CLASS_FACE)
    row, column = (int(one[0]) for one in np.nonzero(picture >= FAINTEST))
    page.mouse.move(left + column + 2, top + height - row - 2)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    span = "name => { const y = Bokeh.documents[0].get_model_by_name(name).y_range; return y.end - y.start; }"
    page.wait_for_function(f"name => ({span})(name) < 3.5", arg=CLASS_FACE, timeout=WAIT)
    page.wait_for_timeout(500)
    closer, drawn = tile(page, CLASS_FACE)
    assert closer.shape == picture.shape
    assert drawn["dw"] == planted.ITERATIONS, "iterations stay"
    row, column = (int(one[0]) for one in np.nonzero(closer >= FAINTEST))
    page.mouse.click(left + column + 2, top + height - row - 2)
    url = wait_for_address(page, "i=")
    picked = re.search(r"i=(\w+)-\d+", url)
    assert picked is not None
    assert picked[1] in {planted.CLASSES[class_] for class_ in linked}
    assert f"c={picked[1]}" in url
    page.get_by_role("button", name="Bins", exact=True).click()
    page.wait_for_function(
        "name => Bokeh.documents[0].get_model_by_name(name).renderers[0].data_source.data.image[0].shape[1] === 800",
        arg=CLASS_FACE,
        timeout=WAIT,
    )
