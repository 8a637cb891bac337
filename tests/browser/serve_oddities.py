"""Serves a folder of runs with one more folder of views, some of which fail: `serve_oddities.py PORT RUNS VIEWS`."""

import sys
from pathlib import Path

from deeptracker.app import views
from deeptracker.app.library import Library
from deeptracker.app.serving import Server

port, runs, more_views = sys.argv[1:]
views.__path__.append(more_views)
Server(Library([Path(runs)]), int(port)).run()
