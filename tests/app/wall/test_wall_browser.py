"""The wall in a real browser, with real wheel, mouse and keys, on synthetic rows."""

import importlib.util
import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeptracker.app.theme import THEMES, rgb
from deeptracker.app.wall import paint

spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
synthetic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(synthetic)

ROWS = 1000
COUNT = "Object.values(window.deeptracker_walls ?? {}).reduce((sum, wall) => sum + wall.pictures, 0)"
MIDDLE = (800, 400)
"""A place on the picture."""
GUTTER_ROOM, TOP = 191, 40


@pytest.fixture
def opened(page, serve_wall):
    made = serve_wall(
        synthetic.SyntheticFilters(ROWS), synthetic.filter_tree(ROWS), landmarks=[(300_000, "learning rate 0.1 → 0.01")]
    )
    page.goto(made.address)
    page.wait_for_function(f"{COUNT} > 0", timeout=90_000)
    made.page, made.wall = page, made.walls[-1]
    settle(made)
    return made


def settle(made, quiet=0.4, most=8.0):
    """Wait until no more pictures come."""
    until, count, since = time.monotonic() + most, made.page.evaluate(COUNT), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < until, "pictures keep coming"
        made.page.wait_for_timeout(30)
        now = made.page.evaluate(COUNT)
        if now != count:
            count, since = now, time.monotonic()
    return count


def wheel(made, notches, rows=False, at=MIDDLE):
    made.page.mouse.move(*at)
    if rows:
        made.page.keyboard.down("Control")
    for _ in range(abs(notches)):
        made.page.mouse.wheel(0, -120 if notches > 0 else 120)
        made.page.wait_for_timeout(16)
    if rows:
        made.page.keyboard.up("Control")


def pixels(made):
    """Return what is on the screen, (height, width, 3)."""
    return np.array(Image.open(io.BytesIO(made.page.screenshot())).convert("RGB"))


def view(made):
    return made.wall.drawn.view


def test_first_picture_shows_every_row_once(opened):
    assert (view(opened).first, view(opened).last) == (0, synthetic.ITERATIONS)
    assert (view(opened).top, view(opened).bottom) == (0, ROWS)
    assert opened.wall.drawn.picture.level == paint.POOLED
    assert opened.wall.redraws <= 2
    shown = pixels(opened)
    picture = opened.wall.drawn.picture.image
    part = shown[TOP : TOP + picture.shape[0], GUTTER_ROOM : GUTTER_ROOM + picture.shape[1]]
    spike = np.array(rgb(THEMES["light"].spike))
    on_screen = (part == spike).all(axis=2)
    expected = picture == paint.SPIKE_MARK
    assert expected.sum() > 50
    # A dashed landmark covers a column; everything else is on screen exactly where it was painted.
    assert (on_screen & expected).sum() > 0.97 * expected.sum()
    assert (on_screen & ~expected).sum() < 0.02 * expected.sum()


def test_wheel_zooms_iterations_in_one_gesture_with_few_pictures(opened):
    before, rows = opened.wall.redraws, (view(opened).top, view(opened).bottom)
    began = time.monotonic()
    wheel(opened, 10)
    most = 3 + (time.monotonic() - began) / 0.1  # on a busy machine the notches are no longer one gesture
    pictures = settle(opened)
    assert view(opened).last - view(opened).first < synthetic.ITERATIONS * 0.5
    assert (view(opened).top, view(opened).bottom) == rows
    assert 1 <= opened.wall.redraws - before <= most, "a gesture of ten notches is not ten redraws"
    assert pictures == opened.wall.redraws, "every picture sent is a picture shown"
    assert opened.wall.drawn.view.first == opened.wall.x_range.start


def test_wheel_with_ctrl_zooms_rows_until_they_are_envelopes(opened):
    iterations = (view(opened).first, view(opened).last)
    gutter = len(opened.wall.gutter.texts.data["text"])
    levels = []
    for _ in range(12):
        wheel(opened, 3, rows=True)
        settle(opened)
        levels.append(opened.wall.drawn.picture.level)
    assert (view(opened).first, view(opened).last) == iterations
    assert levels == sorted(levels)
    assert {paint.HORIZON, paint.ENVELOPE} <= set(levels)
    assert gutter != len(opened.wall.gutter.texts.data["text"])
    line = np.array(rgb(THEMES["light"].line))
    assert (pixels(opened) == line).all(axis=2).sum() > 100, "the envelope's line is on the screen"
    assert view(opened).bottom - view(opened).top == pytest.approx(1.5), "no deeper than the deepest zoom"


def test_wheel_over_the_gutter_zooms_rows_and_double_click_resets(opened):
    wheel(opened, 8, at=(100, 400))
    settle(opened)
    assert view(opened).bottom - view(opened).top < ROWS * 0.7
    wheel(opened, 4)
    settle(opened)
    assert view(opened).last - view(opened).first < synthetic.ITERATIONS
    opened.page.mouse.dblclick(*MIDDLE)
    settle(opened)
    assert (view(opened).first, view(opened).last) == (0, synthetic.ITERATIONS)
    assert (view(opened).top, view(opened).bottom) == (0, ROWS)


def test_drag_pans(opened):
    wheel(opened, 6)
    settle(opened)
    before = view(opened).first
    opened.page.mouse.move(900, 400)
    opened.page.mouse.down()
    opened.page.mouse.move(800, 400, steps=5)
    opened.page.mouse.up()
    settle(opened)
    assert view(opened).first > before


def test_hover_reads_the_exact_values_of_the_bucket(opened):
    wheel(opened, 30, rows=True)
    settle(opened)
    opened.page.mouse.move(700, 300)
    opened.page.mouse.move(702, 302)
    opened.page.wait_for_timeout(300)
    tip = opened.page.locator("#deeptracker-tip")
    tip.wait_for(state="visible", timeout=20_000)
    seen = view(opened)
    iteration = seen.first + (702 - GUTTER_ROOM + 0.5) / seen.width * (seen.last - seen.first)
    row = int(seen.top + (302 - TOP) / seen.row_height)
    source = opened.wall.feed.source
    entity = opened.wall.layout.rows[row].entities[0]
    envelope = source.envelope(np.array([entity]), (0, synthetic.ITERATIONS), seen.width)
    bucket = int(np.searchsorted(envelope.start, iteration, side="right")) - 1
    words = tip.inner_text()
    assert f"filter {entity}" in words
    near = [f"{value:.5g}" for value in envelope.middle[0, bucket - 1 : bucket + 2]]
    assert any(value in words for value in near), (words, near)
    opened.page.mouse.move(20, 790)


def test_click_selects_and_ctrl_click_adds(opened):
    wheel(opened, 18, rows=True)
    settle(opened)
    seen = view(opened)
    opened.page.mouse.click(700, 300)
    settle(opened)
    row = int(seen.top + (300 - TOP) / seen.row_height)
    first = list(opened.wall.layout.rows[row].entities)
    assert opened.selected[-1] == first
    base = np.array(rgb(THEMES["light"].selected_line))
    assert (pixels(opened) == base).all(axis=2).any(), "the selected row is drawn as such"
    opened.page.keyboard.down("Control")
    opened.page.mouse.click(700, 300 + round(seen.row_height) + 1)
    opened.page.keyboard.up("Control")
    settle(opened)
    assert opened.selected[-1] == [*first, *opened.wall.layout.rows[row + 1].entities]
    assert opened.wall.selected == opened.selected[-1]


def test_click_on_a_group_folds_it_and_again_unfolds_it(opened):
    opened.page.mouse.click(12, 150)
    settle(opened)
    assert opened.wall.layout.spans[0].folded
    assert opened.wall.rows == ROWS - 250 + 1
    opened.wall.x_range.document.add_next_tick_callback(lambda: setattr(opened.wall, "folded", []))
    settle(opened)
    assert opened.wall.rows == ROWS


def test_brush_along_the_ruler(opened):
    opened.page.mouse.move(500, 33)
    opened.page.mouse.down()
    opened.page.mouse.move(700, 33, steps=6)
    opened.page.mouse.up()
    opened.page.wait_for_timeout(300)
    first, stop = opened.brushed[-1]
    width = view(opened).width
    assert first == pytest.approx((500 - GUTTER_ROOM) / width * synthetic.ITERATIONS, abs=2000)
    assert stop == pytest.approx((700 - GUTTER_ROOM) / width * synthetic.ITERATIONS, abs=2000)
    assert opened.wall.face.brush.visible


def test_theme_is_another_palette_and_no_other_picture(opened):
    count = opened.page.evaluate(COUNT)
    opened.wall.x_range.document.add_next_tick_callback(lambda: setattr(opened.wall, "theme", "dark"))
    opened.page.wait_for_function("Object.values(window.deeptracker_walls).some(wall => wall.recoloured > 0)")
    settle(opened)
    assert opened.page.evaluate(COUNT) == count
    shown = pixels(opened)
    assert tuple(shown[TOP + 300, 30]) != rgb(THEMES["light"].surface)
    assert shown[TOP:790, GUTTER_ROOM:].mean() < 110


def test_narrower_window_gets_a_narrower_picture(opened):
    opened.page.set_viewport_size({"width": 900, "height": 900})
    settle(opened)
    assert view(opened).width < 720
    assert opened.wall.drawn.picture.image.shape[1] == view(opened).width


def test_images_show_their_states(page, serve_wall):
    source = synthetic.SyntheticImages(300)
    made = serve_wall(source, synthetic.filter_tree(300))
    page.goto(made.address)
    page.wait_for_function(f"{COUNT} > 0", timeout=90_000)
    made.page, made.wall = page, made.walls[-1]
    settle(made)
    colors, counts = np.unique(pixels(made)[TOP + 5 : 700, 200:1200].reshape(-1, 3), axis=0, return_counts=True)
    right = np.array(rgb(THEMES["light"].right))
    assert (np.abs(colors - right).sum(axis=1) < 30) @ counts > 0.2 * counts.sum()
    wheel(made, 14)
    settle(made)
    page.mouse.move(700, 300)
    page.mouse.move(702, 302)
    page.locator("#deeptracker-tip").wait_for(state="visible", timeout=20_000)
    assert "validation" in page.locator("#deeptracker-tip").inner_text()
