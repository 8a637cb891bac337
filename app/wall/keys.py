"""A wall by keyboard: the browser moves what is pointed at, the server hears of what is done to a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS

from deeptracker.app.assets import asset
from deeptracker.app.later import in_order
from deeptracker.app.wall.frame import Face
from deeptracker.app.wall.hover import Hover
from deeptracker.app.wall.layout import Layout

FOCUS = """
:host(:focus) { outline: none; }
:host(.by-keys:focus)::after { content: ""; position: absolute; inset: 0; z-index: 10; pointer-events: none;
  border: 2px solid var(--dt-accent, #1a5fa8); }
"""
"""A click leaves no frame behind; keys show where they act. An outline would lie below the picture."""

Act = Callable[[str, int, bool], None]


class Keys:
    """Lets a wall's picture take the focus; `act(kind, row, adding)` hears "pick", "fold" (a row) and "close"."""

    def __init__(self, name: str, face: Face, hover: Hover, act: Act) -> None:
        self._act = act
        self.source = ColumnDataSource({"act": [""], "row": [-1], "adding": [False], "number": [0]})
        plot = face.figure
        plot.stylesheets = [*plot.stylesheets, FOCUS]
        arguments: dict[str, Any] = {
            "plot": plot,
            "x_range": plot.x_range,
            "y_range": plot.y_range,
            "band": face.band,
            "cross": face.cross,
            "rows": hover.rows,
            "pointer": hover.pointer,
            "keys": self.source,
            "name": name,
        }
        # The first picture comes when the plot is on the page: only then is there something that takes keys.
        face.tile.js_on_change("data", CustomJS(args=arguments, code=asset("wall_keys.js")))
        self.source.on_change("data", in_order(self._pressed))

    def _pressed(self, attr: str, old: Any, new: Any) -> None:
        self._act(str(new["act"][0]), int(new["row"][0]), bool(new["adding"][0]))


def group_of(layout: Layout, row: int) -> str | None:
    """Return the key of the innermost group around a row: what folds or unfolds there."""
    around = [span for span in layout.spans if span.start <= row < span.stop]
    return max(around, key=lambda span: span.depth).key if around else None
