"""The app served in a process of its own over real runs, and pages that fail on anything a user should not see."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ITERATIONS = 160
LOCAL = ("http://127.0.0.1:", "http://localhost:", "ws://127.0.0.1:", "ws://localhost:", "data:", "blob:", "file:")

OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record the real demo training once: 160 iterations, four validations, three drops of the learning rate."""
    path = tmp_path_factory.mktemp("recorded") / "demo"
    command = [sys.executable, "-m", "deeptracker.app.command", "demo", "--no-serve", "--out", str(path)]
    subprocess.run([*command, "--iterations", str(ITERATIONS)], check=True, capture_output=True, timeout=300)
    return path


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Run a server (`{port}` in its command is a free port) until the block ends; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *(word.format(port=port) for word in command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_for(address: str, process: subprocess.Popen[str], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended: {process.communicate()[1]}")
        try:
            with urllib.request.urlopen(address, timeout=30):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError(f"Nothing answers at {address}.")


@pytest.fixture(scope="session")
def app(demo_run: Path) -> Iterator[str]:
    """Serve the recorded demo run; yield the address of the list of runs."""
    with serving("-m", "deeptracker.app.command", "serve", str(demo_run.parent), "--port", "{port}") as address:
        yield address


@pytest.fixture
def run_address(app: str, demo_run: Path) -> str:
    """Return the address of the recorded demo run's page."""
    return f"{app}run?path={demo_run.parent.name}/demo"


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Return a function that opens an address and waits until it is drawn: `open_page(address, width=, height=)`.

    The test fails when any of its pages logged an error, raised one, asked in vain, or asked outside this machine.
    """
    contexts: list[Any] = []
    problems: list[str] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
        page.on("console", lambda line: line.type == "error" and problems.append(f"console: {line.text}"))
        page.on("requestfailed", lambda asked: problems.append(f"failed: {asked.url} ({asked.failure})"))
        page.on("response", lambda got: got.status >= 400 and problems.append(f"{got.status}: {got.url}"))
        page.on("request", lambda asked: asked.url.startswith(LOCAL) or problems.append(f"outside: {asked.url}"))

    def opened(address: str, width: int = 1280, height: int = 720, wait: bool = True) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        watch(page)
        page.goto(address)
        if wait:
            drawn(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not problems, "\n".join(problems)


def drawn(page: Page) -> None:
    """Wait until the page is drawn and connected to its server."""
    page.wait_for_function("window.Bokeh?.documents?.length > 0 && Bokeh.documents[0].is_idle")
    # What the server sets once the page has loaded comes over the same wire: let it settle.
    page.wait_for_function("!document.querySelector('#loader') || getComputedStyle(loader).display === 'none'")
    page.wait_for_timeout(300)


@pytest.fixture
def window_of() -> Callable[[Page], tuple[float, float]]:
    """Return a function that tells the iterations on screen in a page."""

    def window(page: Page) -> tuple[float, float]:
        found = page.evaluate(
            "() => { const range = Bokeh.documents[0].get_model_by_name('iterations');"
            " return [range.start, range.end]; }"
        )
        return (float(found[0]), float(found[1]))

    return window


@pytest.fixture
def frame_of() -> Callable[..., tuple[float, float, float, float]]:
    """Return a function that tells where a named figure's plot area is: left, top, width and height in pixels."""

    def frame(page: Page, name: str = "overview") -> tuple[float, float, float, float]:
        found = page.evaluate(
            # A figure that was replaced may linger in the document; the one on screen has a view.
            "name => { const view = [...Bokeh.documents[0].all_models].filter(model => model.name === name)"
            ".map(model => Bokeh.index.find_one(model)).find(view => view != null);"
            " const box = view.el.getBoundingClientRect(); const frame = view.frame.bbox;"
            " return [box.left + frame.left, box.top + frame.top, frame.width, frame.height]; }",
            name,
        )
        return (found[0], found[1], found[2], found[3])

    return frame
