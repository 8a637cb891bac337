"""The app for `panel serve app`: runs of `--args PATH...`, of DEEPTRACKER_RUNS, or of ./runs."""

import os
import sys

import panel as pn

from deeptracker.app.library import Library
from deeptracker.app.pages import Pages
from deeptracker.app.places import split_places


def roots() -> list[str]:
    """Return what to serve: the command's own, the environment's, or `runs` where the server started."""
    return sys.argv[1:] or split_places(os.environ.get("DEEPTRACKER_RUNS", "")) or ["runs"]


# One library for all sessions of the server: this file itself runs once for each.
library: Library = pn.state.as_cached("deeptracker library", lambda: Library(roots()))
Pages(library).any()
