"""The app for `panel serve app`: runs of `--args PATH...`, of DEEPTRACKER_RUNS, or of ./runs."""

import os
import sys

import panel as pn

from deeptracker.app.library import Library
from deeptracker.app.pages import Pages


def roots() -> list[str]:
    """Return the folders to serve: the command's own, the environment's, or `runs` where the server started."""
    given = sys.argv[1:] or os.environ.get("DEEPTRACKER_RUNS", "").split(os.pathsep)
    return [path for path in given if path] or ["runs"]


# One library for all sessions of the server: this file itself runs once for each.
library: Library = pn.state.as_cached("deeptracker library", lambda: Library(roots()))
Pages(library).any()
