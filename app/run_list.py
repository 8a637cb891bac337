"""The browser's part of the list of runs: its lines, and which of them are picked."""

from __future__ import annotations

from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from deeptracker.app.assets import asset


class RunList(JSComponent):
    """Shows `lines` (trusted markup); a checkbox `input.pick` in them adds its value to `picked`, in this order."""

    lines = param.String(default="", doc="The lines as markup, everything in it escaped.")
    picked: param.List[list[Any]] = param.List(default=[], item_type=str, doc="Keys of the runs picked, in order.")

    _esm = asset("run_list.js")
    _stylesheets: ClassVar[list[str]] = []
