"""Measures the wall in headless Chromium: real wheel notches, from the event to the last picture it causes.

    python tests/benchmarks/bench_wall.py [--rows 161 1000 10000] [--notches 12]

Rows are synthetic. Prints one line per size: first picture after the page's own load, notch to final picture (medians,
iterations and rows), the 95th percentile frame during a gesture of twelve notches, server CPU per redraw, bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
import statistics
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.models import Range1d
from playwright.sync_api import sync_playwright

from deeptracker.app.wall import compose
from deeptracker.app.wall.plot import Wall

HERE = Path(__file__).resolve().parent
COUNT = "Object.values(window.deeptracker_walls ?? {}).reduce((sum, wall) => sum + wall.pictures, 0)"
LAST = "Math.max(...Object.values(window.deeptracker_walls).map(wall => wall.at.at(-1)))"
LISTEN = "window.addEventListener('wheel', () => { window.notch ??= performance.now() }, {capture: true})"
FRAMES = """() => { window.frames_ = []; let last = performance.now();
  const step = now => { frames_.push(now - last); last = now; window.frames_on && requestAnimationFrame(step) };
  window.frames_on = true; requestAnimationFrame(step) }"""
PLACE = (800, 400)


def load(path: Path) -> Any:
    """Import a file by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(rows: int, synthetic: Any) -> tuple[Any, str, list[Wall]]:
    """Serve a wall of synthetic rows; return the server, its address, and the walls it makes."""
    source, walls = synthetic.SyntheticFilters(rows), []

    def page() -> Any:
        end = synthetic.ITERATIONS
        x_range = Range1d(start=0, end=end, bounds=(0, end), reset_start=0, reset_end=end, min_interval=4)
        walls.append(Wall(source, synthetic.filter_tree(rows), x_range))
        return pn.Column(walls[-1], sizing_mode="stretch_width", height=960)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"port": port, "address": "127.0.0.1", "show": False, "threaded": True, "verbose": False}
    server = pn.serve({"/": page}, **options)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    return server, f"http://127.0.0.1:{port}/", walls


def settled(page: Any, quiet: int = 800) -> None:
    """Wait until no picture has come for `quiet` milliseconds."""
    count, since = page.evaluate(COUNT), time.monotonic()
    while time.monotonic() - since < quiet / 1000:
        page.wait_for_timeout(20)
        now = page.evaluate(COUNT)
        if now != count:
            count, since = now, time.monotonic()


def notch(page: Any, delta: int) -> float:
    """Turn the wheel by one notch; return the milliseconds from the event to the last picture."""
    page.evaluate("window.notch = null")
    page.mouse.wheel(0, delta)
    settled(page)
    return float(page.evaluate(f"{LAST} - window.notch"))


def measure(browser: Any, rows: int, notches: int, synthetic: Any) -> str:
    """Measure one size; return its line."""
    server, address, walls = serve(rows, synthetic)
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    try:
        page.goto(address)
        page.wait_for_function(f"{COUNT} > 0", timeout=60_000)
        first = page.evaluate(f"{LAST} - performance.getEntriesByType('navigation')[0].responseEnd")
        page.evaluate(LISTEN)
        page.mouse.move(*PLACE)
        settled(page)
        wall, times, seconds = walls[-1], {}, []
        for name in ("iterations", "rows"):
            if name == "rows":
                page.keyboard.down("Control")
            found = []
            for number in range(notches):
                found.append(notch(page, -120 if number < notches // 2 else 120))
                assert wall.drawn is not None
                seconds.append(wall.drawn.seconds)
            times[name] = statistics.median(found)
        page.keyboard.up("Control")
        before = wall.redraws
        page.evaluate(FRAMES)
        for _ in range(12):
            page.mouse.wheel(0, -120)
            page.wait_for_timeout(16)
        page.evaluate("window.frames_on = false")
        frames = sorted(page.evaluate("window.frames_"))
        settled(page)
        assert wall.drawn is not None
        image = wall.drawn.picture.image
        size, packed = image.nbytes, len(zlib.compress(image.tobytes(), 1))
        return (
            f"{rows:>6} rows | first picture {first:5.0f} ms | notch to final {times['iterations']:4.0f} / "
            f"{times['rows']:4.0f} ms | gesture p95 frame {frames[int(0.95 * len(frames))]:3.0f} ms, "
            f"{wall.redraws - before} redraws | server {1000 * statistics.median(seconds):4.1f} ms a redraw | "
            f"{size / 1e6:.2f} MB, {packed / 1e3:.0f} kB packed"
        )
    finally:
        page.close()
        server.stop()


def main() -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[161, 1000, 10_000])
    parser.add_argument("--notches", type=int, default=12)
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE.parents[1] / "tools"))
    chromium = load(HERE.parents[1] / "tools" / "install_chromium.py").find()
    synthetic = load(HERE.parent / "app" / "wall" / "synthetic.py")
    compose.warm()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for rows in arguments.rows:
            print(measure(browser, rows, arguments.notches, synthetic), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
