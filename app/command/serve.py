"""`deeptracker serve PATH...`: the app over the runs below some folders."""

from __future__ import annotations

import argparse
import sys
from typing import Any

DEFAULT_PORT = 5006


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve", help="show recorded runs in the browser", description="Show recorded runs in the browser."
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a run, or a folder with runs below it, on this machine or as a URL"
    )
    add_server_options(parser)
    parser.set_defaults(run=run)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of everything that starts the app."""
    parser.add_argument(
        "--port", type=_port, default=None, help=f"port to serve at (default: {DEFAULT_PORT} or the next free one)"
    )
    parser.add_argument(
        "--address", default="127.0.0.1", help="address to serve at (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="name under which browsers may reach the app; may be given several times",
    )


def run(given: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from deeptracker.app.library import Library
    from deeptracker.app.places import require_served
    from deeptracker.app.serving import Server

    for path in given.paths:
        require_served(path)
    library = Library(given.paths)
    server = Server(library, given.port, given.address, given.allow_origin)
    print(f"DeepTracker is at {server.url}", flush=True)
    for line in _remarks(library):
        print(line, file=sys.stderr, flush=True)
    print("Ctrl-C stops it.", flush=True)
    server.run()
    return 0


def _remarks(library: Any) -> list[str]:
    """Return what is worth knowing of the runs found, before a browser is opened."""
    entries = library.entries()
    if not entries:
        places = ", ".join(str(root) for root in library.roots)
        return [f"There is no run below {places} yet; the page lists runs as soon as they begin."]
    return [f"{entry.path} cannot be opened: {' '.join(entry.problem.split())}" for entry in entries if entry.problem]


def _port(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 1 to 65535")
    return number
