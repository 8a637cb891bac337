"""The shell in a real browser: list of runs, run page, themes, zooming on the timeline, links, bad links."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Window = Callable[["Page"], tuple[float, float]]
Frame = Callable[..., tuple[float, float, float, float]]
WHOLE = 160


def test_from_the_list_to_a_run(app: str, open_page: OpenPage) -> None:
    page = open_page(app)
    assert page.title() == "Runs · DeepTracker"
    page.get_by_text("DigitsNet").click()
    page.wait_for_url(re.compile(r"/run\?path="))
    page.get_by_text("finished", exact=False).wait_for()
    page.wait_for_function("document.title === 'demo · DeepTracker'")


def test_the_list_is_searched_as_one_types(app: str, open_page: OpenPage) -> None:
    page = open_page(app)
    page.get_by_placeholder("Search").press_sequentially("nothing like it")
    page.get_by_text("No run matches").wait_for()
    page.get_by_placeholder("Search").fill("demo")
    page.get_by_text("DigitsNet").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 720), (1600, 1000)])
def test_the_run_page_fills_the_window(
    run_address: str, open_page: OpenPage, theme: str, size: tuple[int, int], tmp_path: Path
) -> None:
    page = open_page(f"{run_address}&theme={theme}", *size)
    page.screenshot(path=tmp_path / "page.png")
    width, height = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert (width, height) == size, "the page itself must not scroll"
    assert page.get_by_text("nothing needs to be done").count() == 0
    background = page.evaluate("Bokeh.documents[0].get_model_by_name('overview').background_fill_color")
    assert background == {"light": "#ffffff", "dark": "#171c22"}[theme]
    assert drawn_color(page) == pytest.approx({"light": (255, 255, 255), "dark": (23, 28, 34)}[theme], abs=6)


def drawn_color(page: Page) -> tuple[int, int, int]:
    """Return the most frequent colour of the timeline as it was painted."""
    import io

    from PIL import Image

    box = page.evaluate(
        "() => { const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name('overview'));"
        " const box = view.el.getBoundingClientRect();"
        " return {x: box.x, y: box.y, width: box.width, height: box.height}; }"
    )
    picture = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
    colors: Any = picture.getcolors(2**24)
    red, green, blue = max(colors)[1]
    return (red, green, blue)


def test_the_toggle_recolours_plots_and_address(run_address: str, open_page: OpenPage) -> None:
    page = open_page(run_address)
    page.get_by_label("Toggle theme").click()
    page.wait_for_function("Bokeh.documents[0].get_model_by_name('overview').background_fill_color === '#171c22'")
    page.wait_for_url(re.compile("theme=dark"))
    page.wait_for_timeout(300)
    assert drawn_color(page) == pytest.approx((23, 28, 34), abs=6)


def test_the_wheel_zooms_about_the_mouse(
    run_address: str, open_page: OpenPage, window_of: Window, frame_of: Frame
) -> None:
    page = open_page(run_address)
    whole = window_of(page)
    left, top, width, height = frame_of(page)
    page.mouse.move(left + width * 0.25, top + height / 2)
    for _ in range(4):
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(40)
    page.get_by_text("iterations", exact=False).and_(page.locator("button")).wait_for()
    start, stop = window_of(page)
    assert whole[0] < start < stop < whole[1]
    assert (start - whole[0]) / (whole[1] - whole[0] - (stop - start)) == pytest.approx(0.25, abs=0.03)
    page.wait_for_url(re.compile("w=[0-9]"))
    page.mouse.dblclick(left + width * 0.5, top + height / 2)
    page.get_by_text("Drag across the timeline").wait_for()
    assert window_of(page) == whole


def test_drawing_a_window_and_following_its_link(
    run_address: str, open_page: OpenPage, window_of: Window, frame_of: Frame
) -> None:
    page = open_page(run_address)
    left, top, width, height = frame_of(page)
    page.mouse.move(left + width * 0.3, top + height / 2)
    page.mouse.down()
    page.mouse.move(left + width * 0.45, top + height / 2, steps=5)
    page.mouse.move(left + width * 0.6, top + height / 2, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile(r"w=4\d-9\d"))
    start, stop = window_of(page)
    assert (start, stop) == pytest.approx((0.3 * WHOLE, 0.6 * WHOLE), abs=2)
    other = open_page(page.url)
    assert window_of(other) == pytest.approx((start, stop), abs=1)
    other.get_by_text("Reset").click()
    other.get_by_text("Drag across the timeline").wait_for()
    assert window_of(other) == pytest.approx((0, WHOLE), abs=1)


def test_views_open_and_close(run_address: str, open_page: OpenPage) -> None:
    page = open_page(run_address)
    buttons = page.locator(".open-views").get_by_role("button", pressed=True)
    names = [name.strip() for name in buttons.all_inner_texts()]
    assert names, "views are open from the start"
    for name in names:
        page.locator(".open-views").get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(300)
    page.get_by_text("No view is open").wait_for()
    page.locator(".open-views").get_by_role("button", name=names[0], exact=True).click()
    page.get_by_text("No view is open").wait_for(state="detached")
    page.wait_for_url(re.compile(f"v={names[0].lower()}"))


@pytest.mark.parametrize(
    "path", ["", "nowhere", "../../etc", "/etc/passwd", "%00", "x" * 3000, "<script>alert(1)</script>", "recorded%2f.."]
)
def test_a_bad_path_gets_a_clear_page(app: str, open_page: OpenPage, path: str) -> None:
    page = open_page(f"{app}run?path={path}")
    page.get_by_text("Go back to the list of runs").wait_for()
    page.get_by_text("Back to the runs").click()
    page.wait_for_url(app)


@pytest.mark.parametrize(
    "query",
    ["w=9999999999-99999999999", "w=5-4&l=<img src=x>&c=%ff", "v=<script>,nothing&theme=pink&a=99999999&f=123456"],
)
def test_a_bad_selection_still_shows_the_run(run_address: str, open_page: OpenPage, query: str) -> None:
    page = open_page(f"{run_address}&{query}")
    page.get_by_text("finished", exact=False).wait_for()
    assert page.get_by_text("failed").count() == 0
