"""Starting the app's server: its port, who may connect, and how it stops."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
from collections.abc import Sequence
from typing import Any

import panel as pn
from bokeh.settings import settings
from bokeh.util.token import generate_secret_key

from deeptracker.app.library import Library
from deeptracker.app.pages import Pages
from deeptracker.app.quiet import hush
from deeptracker.app.wall.compose import warm_in_background
from deeptracker.data_model.errors import DeepTrackerError

DEFAULT_PORT = 5006
PORTS_TRIED = 50
THREADS = 4
"""Threads for the callbacks of widgets, so that a slow one of one visitor does not hold up the others."""


class ServingError(DeepTrackerError):
    """The app cannot be served at the address, the port or to the origins asked for."""


def is_local(address: str) -> bool:
    """Whether an address is reached from this machine only."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def origins(address: str, port: int, allowed: Sequence[str]) -> list[str]:
    """Return the hosts (`name:port`) whose pages may open a websocket to the app.

    Never "*": a page of anybody could then read the runs through the visitor's browser.
    """
    found = [f"localhost:{port}", f"127.0.0.1:{port}"]
    if not is_local(address) and address not in ("0.0.0.0", "::"):
        found.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    elif ":" in address:
        found.append(f"[::1]:{port}")
    for origin in allowed:
        if not origin or any(letter in origin for letter in "*/ "):
            raise ServingError(
                f"--allow-origin takes the host name (and port) that browsers use, such as lab7:5006, not {origin!r}."
            )
        host, _, ending = origin.rpartition(":")
        found.append(origin if host and ending.isdigit() else f"{origin}:{port}")
    return list(dict.fromkeys(found))


def free_port(address: str, wanted: int | None) -> int:
    """Return the port to serve at: the one wanted, or the first free one from the default on."""
    candidates = [wanted] if wanted is not None else range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in candidates:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                return port
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    continue
                raise ServingError(
                    f"Cannot serve at the address {address!r} ({error.strerror or error}). "
                    "Give an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them."
                ) from error
    if wanted is not None:
        raise ServingError(f"Port {wanted} of {address} is taken or not allowed. Give another --port, or leave it out.")
    raise ServingError(
        f"No port from {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TRIED - 1} is free. Give one with --port."
    )


def start(library: Library, port: int, address: str, allowed: Sequence[str], **options: Any) -> Any:
    """Return Panel's server of the app over a library; `options` say whether and where it starts."""
    settings.resources = "server"  # nothing is fetched from elsewhere
    hush()
    warm_in_background()  # after an installation this takes longer than it takes to type the address
    pages = Pages(library, "run")
    return pn.serve(
        {"/": pages.runs, "/run": pages.run},
        port=port,
        address=address,
        websocket_origin=origins(address, port, allowed),
        title={"/": "DeepTracker", "/run": "DeepTracker"},
        show=False,
        verbose=False,
        secret_key=generate_secret_key(),
        sign_sessions=True,
        **options,
    )


class Server:
    """The app over a library of runs, bound to its port; `run` serves until it is told to stop."""

    def __init__(
        self, library: Library, port: int | None = None, address: str = "127.0.0.1", allowed: Sequence[str] = ()
    ) -> None:
        self.library = library
        self.port = free_port(address, port)
        self.host = "localhost" if is_local(address) or address in ("0.0.0.0", "::") else address
        pn.extension(nthreads=pn.config.nthreads or THREADS)
        self._server = start(library, self.port, address, allowed, start=False)
        # Panel has taken over Ctrl-C, which ends the loop; being terminated is to do the same, from now on.
        signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))

    @property
    def url(self) -> str:
        """The address to type into a browser."""
        return f"http://{self.host}:{self.port}/"

    def run(self) -> None:
        """Serve until Ctrl-C or a termination signal."""
        self._server.start()
        self._server.io_loop.start()
        self._server.stop()


class BackgroundServer:
    """The app on a thread of this process, for this machine only, as long as the process lives."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.port = free_port("127.0.0.1", None)
        self._thread = start(library, self.port, "127.0.0.1", (), threaded=True)

    @property
    def url(self) -> str:
        """The address to type into a browser."""
        return f"http://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        """Stop serving."""
        self._thread.stop()
