"""A wall of synthetic rows, served from a thread, so that a test sees both the page and the object behind it."""

import importlib.util
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import panel as pn
import pytest
from bokeh.models import Range1d

from deeptracker.app.wall import compose
from deeptracker.app.wall.plot import Wall

spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
synthetic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(synthetic)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, most=20):
    """Wait until something listens on the port."""
    until = time.monotonic() + most
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"Nothing listens on port {port} after {most} s.")


@pytest.fixture
def serve_wall():
    """Return a function that serves a wall and returns its address and the walls made for its visitors."""
    servers = []

    def serve(source, tree, **params):
        compose.warm()
        made = SimpleNamespace(walls=[], selected=[], brushed=[])

        def page():
            whole = {"start": 0, "end": synthetic.ITERATIONS}
            x_range = Range1d(**whole, bounds=(0, whole["end"]), reset_start=0, reset_end=whole["end"], min_interval=4)
            wall = Wall(source, tree, x_range, **params)
            wall.on_select, wall.on_brush = made.selected.append, made.brushed.append
            made.walls.append(wall)
            return pn.Column(wall, sizing_mode="stretch_width", height=800)

        port = free_port()
        options = {"port": port, "address": "127.0.0.1", "show": False, "threaded": True, "verbose": False}
        servers.append(pn.serve({"/": page}, **options))
        wait_for(port)
        made.address = f"http://127.0.0.1:{port}/"
        return made

    yield serve
    for server in servers:
        server.stop()
