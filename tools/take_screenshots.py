"""Take the pictures of the documentation: every view of a run, in both themes, as a browser shows them.

Run: python tools/take_screenshots.py ADDRESS FOLDER, where ADDRESS is that of a run's page, as in the browser.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import install_chromium
from playwright.sync_api import Page, sync_playwright

THEMES = ("light", "dark")
SHOTS = {
    "overview": "",
    "validation": "v=validation",
    "layers": "v=layers",
    "correlation": "v=correlation",
    "anomalies": "v=anomalies",
}
"""What follows the address of the run, by the name of the picture."""
WIDTH, HEIGHT, SETTLED_MS = 1440, 900, 6000
SLOWEST_MS = 90_000


def take(page: Page, address: str, path: Path) -> None:
    """Open an address, wait until all is drawn, and keep the picture."""
    page.goto(address)
    # A page that says what went wrong has no timeline.
    page.wait_for_function("window.Bokeh?.documents?.[0]?.is_idle && Bokeh.documents[0].get_model_by_name('overview')")
    # Views are drawn one after the other, each as the server has it ready.
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path)


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="address of a run's page")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install_chromium.find(), args=install_chromium.flags())
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(SLOWEST_MS)
        for name, query in SHOTS.items():
            for theme in THEMES:
                asked = "&".join(part for part in (given.address, f"theme={theme}", query) if part)
                take(page, asked, given.folder / f"{name}-{theme}.png")
        browser.close()


if __name__ == "__main__":
    main()
