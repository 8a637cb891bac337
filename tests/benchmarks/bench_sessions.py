"""Measures many visitors at once: they all zoom in the same run, on one server process.

    nice python tests/benchmarks/bench_sessions.py [--run FOLDER] [--sessions 20] [--zooms 10]

Without a run one of the paper's size and 10,000 iterations is made. The visitors are Bokeh's own client, which speaks
with the server as a browser does, and acknowledges each picture: what is measured is the server, from a zoom to the
last picture that it causes, and its memory. Prints the median and the 95th percentile of redraws, the memory a session
takes, and what is left of it after all have left; the limits (1 s, 40 MB) are said beside them.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECRET = "of this benchmark only, for its own server"
os.environ |= {"BOKEH_SECRET_KEY": SECRET, "BOKEH_SIGN_SESSIONS": "true"}

import panel_material_ui  # noqa: E402, F401 - the client must know the models that it gets
import psutil  # noqa: E402
from bokeh.client import pull_session  # noqa: E402
from bokeh.document.events import MessageSentEvent, ModelChangedEvent  # noqa: E402
from bokeh.events import DocumentReady  # noqa: E402
from bokeh.util.token import get_session_id  # noqa: E402

import deeptracker.app.pages  # noqa: E402, F401
from tests.paper_size import Size, write_paper_size  # noqa: E402

SERVE = """
import sys
from pathlib import Path
from deeptracker.app import serving
from deeptracker.app.library import Library
serving.generate_secret_key = lambda: sys.argv[3]
serving.Server(Library([Path(sys.argv[1])]), int(sys.argv[2])).run()
"""
LIMIT_SECONDS, LIMIT_MB = 1.0, 40.0
PATIENCE = 180.0
WALLS = 3
"""On screen when a run is opened: the curves, the classes, the layers."""
LEAVING_SECONDS = 45.0
"""After this the server has noticed that visitors have left, and let go of what it kept for them."""


class Visitor:
    """One browser tab, as far as the server can tell."""

    def __init__(self, address: str, key: str, width: int = 600, height: int = 400) -> None:
        with urllib.request.urlopen(f"{address}run?path={key}", timeout=PATIENCE) as page:
            token = re.search(r'"token":\s*"([^"]+)"', page.read().decode())
        assert token is not None, "the page names its session"
        known = get_session_id(token[1])
        self.session = pull_session(session_id=known, url=f"{address}run", max_message_size=200_000_000)
        document = self.document = self.session.document
        self.size, self.sized = {"inner_width": width, "inner_height": height}, set[str]()
        self.walls: list[tuple[Any, list[Any]]] = []
        ready = MessageSentEvent(document, "bokeh_event", DocumentReady())
        document.callbacks.trigger_on_change(ready)
        self.window = document.get_model_by_name("iterations")
        self.until(lambda: len(self.faces()) >= WALLS)
        self.until(self.all_drawn)
        # Looking through all models at each message would take longer than the server takes to draw.
        self.walls = [(face, self.reports(face)) for face in self.faces()]

    def faces(self) -> list[Any]:
        """Return the figures of the walls: those whose tag is the source of a picture."""
        if self.walls:
            return [face for face, _ in self.walls]
        found = [model for model in self.document.models if getattr(model, "tags", None) and hasattr(model, "x_range")]
        walls = [one for one in found if "picture" in getattr(one.tags[0], "data", {})]
        # What a picked row would open is hidden, and has no rows.
        return [one for one in walls if (one.y_range.reset_start or 0) < -1]

    def numbers(self) -> list[int]:
        """Return how many pictures each wall has had."""
        return [int(face.tags[0].data["number"][0]) for face in self.faces()]

    def all_drawn(self) -> bool:
        """Whether every wall that is on screen has a picture."""
        return all(self.numbers())

    def until(self, done: Callable[[], bool]) -> None:
        """Take what the server sends, acknowledge pictures, until something is so."""
        connection = self.session._connection

        async def read() -> None:
            # The client's own ways drop what comes before a reply, or go one call deeper with every message.
            self.acknowledge()
            while not done():
                message = await connection._pop_message()
                if message is None:
                    raise ConnectionError("The server has closed the connection.")
                if message.msgtype == "PATCH-DOC":
                    self.session._handle_patch(message)
                    self.acknowledge()

        connection._loop.run_sync(read, timeout=PATIENCE)

    def acknowledge(self) -> None:
        """Tell the server how large walls are, and that new pictures are shown, as a browser does."""
        for face, reports in self.walls or [(face, self.reports(face)) for face in self.faces()]:
            if face.id not in self.sized:
                self.sized.add(face.id)
                for name, value in self.size.items():  # read-only but for a browser
                    event = ModelChangedEvent(self.document, face, name, value)
                    self.document.callbacks.trigger_on_change(event)
            number = face.tags[0].data["number"]
            for report in reports:
                if report.data["drawn"] != number:
                    report.data = {"drawn": list(number), "ratio": [1.0]}

    def reports(self, face: Any) -> list[Any]:
        """Return where pictures of a wall are acknowledged."""
        callbacks = [one for many in face.tags[0].js_property_callbacks.values() for one in many]
        return [one.args["report"] for one in callbacks if "report" in getattr(one, "args", {})]

    def zoom(self, start: float, end: float) -> float:
        """Zoom, and return the seconds until every wall shows it."""
        before, began = self.numbers(), time.monotonic()
        self.window.update(start=start, end=end)
        self.until(lambda: all(now > then for now, then in zip(self.numbers(), before, strict=True)))
        return time.monotonic() - began

    def leave(self) -> None:
        """Close the tab."""
        self.session.close()


def zoom_on(visitor: Visitor, zooms: int, number: int, found: list[float], failures: list[str]) -> None:
    """Zoom in and out again and again, as fast as the pictures come."""
    try:
        first, stop = visitor.window.bounds
        for step in range(zooms):
            share = 0.1 + 0.5 * ((step * 7 + number * 3) % 10) / 10
            start = first + (stop - first) * (1 - share) * ((number + step) % 5) / 5
            found.append(visitor.zoom(start, start + share * (stop - first)))
    except Exception as error:  # noqa: BLE001 - said at the end
        failures.append(f"{type(error).__name__}: {error}")


def memory(process: psutil.Process) -> float:
    """Return the resident memory in MB."""
    return float(process.memory_info().rss) / 1e6


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Serve a run; return the process and the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(folder), str(port), SECRET])
    address = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}favicon.ico", timeout=10).close()
            break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    return process, address


def round_of(address: str, key: str, sessions: int, zooms: int, process: psutil.Process) -> tuple[list[float], float]:
    """Let visitors come, zoom all at once, and leave; return the seconds of all redraws and the memory in MB."""
    began = time.monotonic()
    visitors = [Visitor(address, key) for _ in range(sessions)]
    print(f"{sessions} pages opened in {time.monotonic() - began:.0f} s", flush=True)
    found: list[float] = []
    failures: list[str] = []
    threads = [
        threading.Thread(target=zoom_on, args=(visitor, zooms, number, found, failures))
        for number, visitor in enumerate(visitors)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = memory(process)
    for visitor in visitors:
        visitor.leave()
    for failure in failures:
        print(f"a visitor failed: {failure}")
    return found, used


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--zooms", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2, help="what stays behind of a first round is no leak yet")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = given.run or Path(made) / "run"
        if given.run is None:
            write_paper_size(folder, Size(10_000)).close()
        server, address = serve(folder)
        try:
            process = psutil.Process(server.pid)
            measure(address, folder.name, (given.sessions, given.zooms, given.rounds), process)
        finally:
            server.terminate()
            server.wait()


def measure(address: str, key: str, amount: tuple[int, int, int], process: psutil.Process) -> None:
    """Print what one visitor takes, what many take, and what stays behind."""
    sessions, zooms, rounds = amount
    alone, _ = round_of(address, key, 1, zooms, process)  # numba compiles, the chunks' cache fills
    time.sleep(LEAVING_SECONDS)
    before = memory(process)
    load = os.getloadavg()[0]
    print(
        f"one session: median redraw {statistics.median(alone):.2f} s; server {before:.0f} MB; load {load:.1f}",
        flush=True,
    )
    for turn in range(1, rounds + 1):
        seconds, used = round_of(address, key, sessions, zooms, process)
        slow = statistics.quantiles(seconds, n=20)[-1]
        each = (used - before) / sessions
        time.sleep(LEAVING_SECONDS)
        print(
            f"round {turn}, {sessions} sessions zooming at once: median redraw {statistics.median(seconds):.2f} s, "
            f"95th percentile {slow:.2f} s (limit {LIMIT_SECONDS:g}); {each:.0f} MB a session (limit {LIMIT_MB:g}); "
            f"{memory(process) - before:+.0f} MB after they left; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
