"""The cube folded up: the same three faces as a body one can turn, with the mouse or the arrow keys."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import panel as pn
import param
import xarray as xr
from panel.custom import JSComponent
from PIL import Image

from deeptracker.app.assets import asset
from deeptracker.app.face_plot import count_colors, diverging, diverging_colors, shaded
from deeptracker.app.later import on_page
from deeptracker.app.theme import Theme, rgb
from deeptracker.app.unfolded import EXCESS_LIMIT
from deeptracker.data_model.cube import Faces

BESIDE = """
:host { display: grid !important; min-height: 0; gap: 6px; padding: 0 6px 6px; box-sizing: border-box;
  grid-template-columns: minmax(0, 1fr) minmax(210px, 30%); grid-template-rows: minmax(340px, 1fr); }
.scroll-button { display: none !important; }
"""


def tile(shades: npt.NDArray[np.uint8], colors: list[str]) -> str:
    """Return shades (row, column) as the data URL of a PNG of as many pixels, row 0 on top."""
    palette = np.array([rgb(color) for color in colors], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(palette[shades]).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


class Cube(JSComponent):
    """Shows `faces` on a cube and calls `on_tap(face, layer, class, bin)` for a click.

    `faces` holds, for "class", "layer" and "pair", the tile's `src`, the `values` of its cells as text by row, and
    their `unit`.
    """

    faces: param.Dict[dict[str, Any]] = param.Dict(default={}, doc="What is on the faces, see the class.")
    names: param.Dict[dict[str, Any]] = param.Dict(
        default={}, doc="Names of `classes`, `layers` and `bins`, and the `span` of iterations."
    )
    picked: param.Dict[dict[str, Any]] = param.Dict(default={}, doc="Numbers of the picked `class` and `layer`.")

    _esm = asset("cube.js")
    _stylesheets: ClassVar[list[str]] = [asset("cube.css")]

    def __init__(self, on_tap: Callable[[str, int | None, int | None, int | None], None], **params: Any) -> None:
        super().__init__(**params)
        self._on_tap = on_tap

    def beside(self, panel: Any) -> pn.Column:
        """Return the cube with a panel at its side."""
        return pn.Column(
            self, panel, stylesheets=[BESIDE], sizing_mode="stretch_both", margin=0, css_classes=["folded-cube"]
        )

    def label(self, classes: list[str], layers: list[str]) -> None:
        """Name the rows of the faces."""
        self.names = {"classes": [f"class {name}" for name in classes], "layers": layers, "bins": [""]}

    def draw(self, counted: Faces, found: xr.Dataset, theme: Theme) -> None:
        """Paint the three faces."""
        counts, colors = count_colors(theme), diverging_colors(theme)
        edges = counted.edges.tolist()
        bins = [f"iterations {a:,} to {b - 1:,}" for a, b in pairwise(edges)] or ["no bin"]
        excess = found["excess"].values
        empty = np.zeros((1, 1))
        shown = {
            "class": (counted.classes[::-1], counted.classes.tolist(), "anomalous images"),
            "layer": (counted.layers, counted.layers.tolist(), "outlier filters"),
        }
        faces: dict[str, Any] = {}
        for name, (rows, values, unit) in shown.items():
            shades = shaded(rows.astype(float) if rows.size else empty, rows.max(initial=0))
            faces[name] = {"src": tile(shades, counts), "values": values, "unit": unit}
        numbers = [[f"{value:+.1f}" for value in row] for row in excess]
        pair = {"src": tile(diverging(excess, EXCESS_LIMIT), colors), "values": numbers, "unit": "sd more than chance"}
        span = [int(edges[0]), int(edges[-1]) - 1] if len(edges) else [0, 0]
        self.param.update(names={**self.names, "bins": bins, "span": span}, faces={**faces, "pair": pair})

    def highlight(self, classes: list[int], layers: list[int]) -> None:
        """Outline the picked class and layer."""
        self.picked = {"class": classes[0] if classes else None, "layer": layers[0] if layers else None}

    def _handle_msg(self, data: dict[str, Any]) -> None:
        whole = {key: value if isinstance(value, int) else None for key, value in data.items()}
        # Messages arrive on a thread of their own; only the page's thread may change the page.
        on_page(lambda: self._on_tap(str(data.get("face")), whole.get("layer"), whole.get("class"), whole.get("bin")))
