"""`run.view()` in a notebook: executed by a real kernel, exported, and looked at with and without the kernel."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OpenPage = Callable[..., "Page"]


@pytest.fixture
def executed(demo_run: Path, tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Execute a notebook; yield its export as a page, and a function that ends its kernel."""
    import nbclient
    import nbformat

    source = f"from deeptracker import open_run\nopen_run({str(demo_run)!r}).view(theme='dark')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's own tools warn about the transport they chose
        client = nbclient.NotebookClient(notebook, timeout=180, kernel_name="python3")
        with client.setup_kernel():
            client.execute_cell(notebook.cells[0], 0)
            page_file = tmp_path / "notebook.html"
            page_file.write_text(exported(notebook), encoding="utf-8")
            yield page_file, lambda: os.kill(client.km.provisioner.pid, signal.SIGKILL)


def exported(notebook: Any) -> str:
    """Return the outputs of a notebook as one page, each put in as Jupyter puts it in."""
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert [output.output_type for output in outputs] == ["execute_result"], outputs
    content = outputs[0]["data"]["text/html"]
    assert len(content) < 100_000, "the notebook's file must stay small"
    return f'<!doctype html><meta charset="utf-8"><body>{content}</body>'


def test_a_run_is_shown_in_a_notebook(
    executed: tuple[Path, Callable[[], None]], browser: Browser, open_page: OpenPage, tmp_path: Path
) -> None:
    page_file, end_kernel = executed
    page = open_page(page_file.as_uri(), 1280, 1000, wait=False)
    frame = page.frame_locator("iframe")
    frame.get_by_text("DigitsNet").wait_for()
    canvas = frame.locator("canvas").first
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box is not None
    page.wait_for_timeout(1000)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    frame.get_by_text("Reset").wait_for()
    page.screenshot(path=tmp_path / "notebook.png")

    end_kernel()
    context = browser.new_context()  # here a request in vain is what is expected
    still = context.new_page()
    still.goto(page_file.as_uri())
    still.get_by_text("run this cell again").wait_for()
    assert still.locator("iframe").is_hidden()
    assert still.locator(".still svg").is_visible()
    stroke = still.locator(".still path").evaluate("path => getComputedStyle(path).stroke")
    assert stroke != "none", "a loss without spread is a line without area"
    still.screenshot(path=tmp_path / "notebook-still.png")
    context.close()
