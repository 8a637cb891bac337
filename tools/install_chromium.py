"""Find a Chromium for the browser tests, or install one: Debian's package, else Playwright's own download.

`python tools/install_chromium.py` prints where it is. Set CHROMIUM to a browser's path to use that one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# Nothing in the background: it must also work, and be quiet, on a machine without a network.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

ADVICE = """
No Chromium could be found or installed for the browser tests; the messages above say why. What you can do:
install Chromium or Chrome as your system does it, or set CHROMIUM to the path of one, and run the same again.
"""


class ChromiumMissingError(Exception):
    """No Chromium is here."""


def flags() -> list[str]:
    """Return what Chromium is started with; root may start it without its sandbox only."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*QUIET, *(["--no-sandbox"] if root else [])]


def candidates() -> Iterator[Path]:
    """Yield the places where a Chromium may be, the user's choice first."""
    if chosen := os.environ.get("CHROMIUM"):
        yield Path(chosen)
        return
    yield from (Path(found) for name in NAMES if (found := shutil.which(name)))
    yield MAC
    if own := playwright_path():
        yield own


def playwright_path() -> Path | None:
    """Return where Playwright keeps its own Chromium, there or not; None without Playwright."""
    question = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p: print(p.chromium.executable_path)"
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    return Path(answer.stdout.strip()) if answer.returncode == 0 else None


def runs(path: Path) -> bool:
    """Return whether the browser at `path` starts: a name on the path may be an installer's stub."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find() -> Path:
    """Return the path of a Chromium that starts; raises ChromiumMissingError, saying what to do."""
    for path in candidates():
        if runs(path):
            return path
    chosen = os.environ.get("CHROMIUM")
    tried = f"CHROMIUM={chosen} does not start" if chosen else f"none of {', '.join(NAMES)} is installed"
    raise ChromiumMissingError(f"The browser tests need a Chromium, and {tried}: run `make chromium`.")


def install_commands() -> Iterator[list[list[str]]]:
    """Yield the ways to install one, best first: each a list of commands that must all succeed."""
    administrator: list[str] | None = None
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        administrator = []
    elif shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        administrator = ["sudo", "-n"]
    if administrator is not None and is_debian():
        apt = [*administrator, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
        yield [[*apt, "update"], [*apt, "install", "--no-install-recommends", "chromium"]]
    playwright = [sys.executable, "-m", "playwright", "install", "chromium"]
    if administrator is not None and sys.platform == "linux":
        yield [[*playwright, "--with-deps"]]
    yield [playwright]


def is_debian() -> bool:
    """Return whether this is Debian itself: elsewhere the package of that name may be missing or a stub."""
    release = Path("/etc/os-release")
    return release.exists() and "ID=debian" in release.read_text().splitlines() and bool(shutil.which("apt-get"))


def main() -> int:
    """Print the path of a Chromium, installing one where there is none; return the exit status."""
    try:
        print(f"Chromium for the browser tests: {find()}")
        return 0
    except ChromiumMissingError as missing:
        if os.environ.get("CHROMIUM"):
            print(missing, file=sys.stderr)
            return 1
    for commands in install_commands():
        print("Installing Chromium:", " && ".join(" ".join(command) for command in commands), flush=True)
        if not all(subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0 for command in commands):
            continue
        try:
            print(f"Chromium for the browser tests: {find()}")
            return 0
        except ChromiumMissingError:
            continue
    print(ADVICE, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
