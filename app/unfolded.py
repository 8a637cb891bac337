"""The unfolded cube: three linked faces and what stands beside them, laid out so that shared axes line up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any, Literal

import numpy as np
import panel as pn
import xarray as xr
from bokeh.events import SelectionGeometry, Tap
from bokeh.models import Range1d
from bokeh.models.annotations import Span

from deeptracker.app.correlation_model import to_columns
from deeptracker.app.event_face import FAINTEST_EVENT, EventFace
from deeptracker.app.face_plot import (
    FAINTEST,
    FacePlot,
    NamedAxis,
    bin_hover,
    cell_hover,
    count_colors,
    count_hover,
    diverging,
    diverging_colors,
    name_hover,
    shaded,
)
from deeptracker.app.later import in_order
from deeptracker.app.theme import Theme
from deeptracker.data_model.cube import EventCube, Faces

COLUMNS = 800
"""Columns of a tile over iterations: enough that the edge of a bin is off by less than two pixels."""
EXCESS_LIMIT = 6.0
"""Standard deviations at which the colours of the layer x class face are full."""
SIGNIFICANT = 0.05

GRID = """
:host { display: grid !important; min-height: 0; gap: 2px 6px; padding: 0 6px 6px; box-sizing: border-box;
  grid-template-columns: minmax(0, 1fr) minmax(210px, 36%);
  grid-template-rows: minmax(180px, 1fr) minmax(200px, 1fr); }
.scroll-button { display: none !important; }
"""
CAPTION = """
.caption { display: flex; align-items: center; gap: 8px; font-size: 12px; color: var(--dt-muted); height:
22px;
  padding-left: 8px; white-space: nowrap; overflow: hidden; }
@container (max-width: 330px) { .caption .words { display: none; } } :host { container-type: inline-size; }
.caption b { color: var(--dt-text); font-weight: 600; } .caption span { overflow: hidden; text-overflow:
ellipsis; } .scale { margin-left: auto; display: inline-flex; align-items: center; gap: 5px; font-size: 11px;
flex: none; } .scale i { display: inline-block; width: 56px; height: 8px; border-radius: 2px; outline: 1px
solid var(--dt-border); } .dot { width: 6px; height: 6px; border-radius: 50%; background: var(--dt-text);
margin-left: 4px; }
"""


def gradient(colors: list[str]) -> str:
    """Return the CSS background that runs through the colours."""
    return f"linear-gradient(90deg, {', '.join(colors)})"


def caption(title: str, words: str, scale: tuple[str, list[str], str], mark: str = "") -> str:
    """Return the line over a face: what it is, what its colours mean with their numbers and unit."""
    low, colors, high = scale
    dot = f'<span class="dot"></span>{escape(mark)}' if mark else ""
    ramp = f'<i style="background:{gradient(colors)}"></i>'
    return (
        f'<div class="caption"><b>{escape(title)}</b><span class="words">{escape(words)}</span>'
        f'<span class="scale">{escape(low)}{ramp}{escape(high)}{dot}</span></div>'
    )


class Unfolded:
    """Class x iteration over layer x iteration, with layer x class beside the latter and `beside` over that.

    `on_tap(face, x, y)` hears clicks (face in "class", "layer", "pair"; data coordinates), `on_brush(start,
    stop)` hears iterations brushed.
    """

    def __init__(
        self,
        classes: list[str],
        layers: list[str],
        iterations: Range1d,
        beside: Any,
        on_tap: Callable[[str, float, float], None],
        on_brush: Callable[[float, float], None],
    ) -> None:
        self.classes, self.layers, self.iterations = NamedAxis.of(classes), NamedAxis.of(layers, -1), iterations
        self.by_class = FacePlot(self.classes, x=iterations, name="class x iteration", colors=count_colors)
        self.by_layer = FacePlot(self.layers, x=iterations, name="layer x iteration", colors=count_colors)
        self.pair = FacePlot(self.layers, x=self.classes, name="layer x class", colors=diverging_colors)
        self.events = {"class": EventFace(self.by_class), "layer": EventFace(self.by_layer)}
        for axis in (self.classes, self.layers):
            axis.range.min_interval = 0.5  # down to the members of a row
        self.all = {"class": self.by_class, "layer": self.by_layer, "pair": self.pair}
        self._captions = {name: pn.pane.HTML(stylesheets=[CAPTION], margin=0, height=22) for name in self.all}
        self._align()
        self._hovers()
        self._listen(on_tap, on_brush)
        self._theme: Theme | None = None
        self.layout = pn.Column(
            self._framed("class"),
            beside,
            self._framed("layer"),
            self._framed("pair"),
            stylesheets=[GRID],
            sizing_mode="stretch_both",
            margin=0,
            css_classes=["unfolded-cube"],
        )

    def _framed(self, name: str) -> pn.Column:
        plot = pn.pane.Bokeh(self.all[name].figure, sizing_mode="stretch_both", margin=0)
        self._captions[name].sizing_mode = "stretch_width"
        return pn.Column(self._captions[name], plot, sizing_mode="stretch_both", margin=0, css_classes=[f"face-{name}"])

    def _align(self) -> None:
        left = max(self.classes.border(), self.layers.border())
        below = self.classes.border()
        for face in (self.by_class, self.by_layer):
            face.figure.update(min_border_left=left, min_border_right=12, min_border_top=3, min_border_bottom=24)
        self.by_layer.figure.min_border_bottom = max(below, 24)
        self.pair.figure.update(
            min_border_left=8, min_border_right=12, min_border_top=3, min_border_bottom=max(below, 24)
        )
        self.pair.figure.yaxis[0].visible = False
        short = max((len(name) for name in self.classes.names), default=0) <= 2
        self.pair.figure.xaxis[0].major_label_orientation = "horizontal" if short else "vertical"

    def _hovers(self) -> None:
        # One line is shared by the faces that share its axis; classes are an upright axis above, a level one beside.
        iteration, layer, class_above, class_beside = _line("height"), _line("width"), _line("width"), _line("height")
        for one, other in ((class_above, class_beside), (class_beside, class_above)):
            for what in ("location", "visible"):
                one.js_link(what, other, what)
        self._lines = [iteration, layer, class_above, class_beside]
        lines = {"class": (class_above, iteration), "layer": (layer, iteration), "pair": (layer, class_beside)}
        for name, axis, what in (
            ("class", self.classes, "anomalous images"),
            ("layer", self.layers, "outlier filters"),
        ):
            face = self.all[name]
            face.tools(
                lines[name],
                [(name, "$y{custom}"), ("iterations", "$x{custom}"), (what, "@image{custom}")],
                {
                    "$y": name_hover(axis, "y"),
                    "$x": bin_hover(face.source),
                    "@image": count_hover(face.source, axis.sign),
                },
            )
        words = {"observed": "coincidences", "expected": "expected", "lift": "lift", "p_value": "p", "q_value": "q"}
        missing = {"p_value": "too few bins", "q_value": "too few bins"}
        self.pair.tools(
            lines["pair"],
            [
                ("layer", "$y{custom}"),
                ("class", "$x{custom}"),
                *((label, f"@{name}{{custom}}") for name, label in words.items()),
            ],
            {
                "$y": name_hover(self.layers, "y"),
                "$x": name_hover(self.classes, "x"),
                **{
                    f"@{name}": cell_hover(self.pair, name, self.classes, missing.get(name, "\u2013")) for name in words
                },
            },
        )

    def _listen(self, on_tap: Callable[[str, float, float], None], on_brush: Callable[[float, float], None]) -> None:
        for name, face in self.all.items():
            face.figure.on_event(Tap, in_order(lambda event, name=name: on_tap(name, event.x, event.y)))
        for face in (self.by_class, self.by_layer):
            face.figure.on_event(SelectionGeometry, in_order(lambda event: _brushed(event, on_brush)))

    def draw(self, counted: Faces, window: tuple[int, int], theme: Theme, events: EventCube | None = None) -> None:
        """Draw the two faces over iterations: in bins, or every one of `events` at its place."""
        for name, counts, unit in (("class", counted.classes, "images"), ("layer", counted.layers, "filters")):
            face, single = self.all[name], self.events[name]
            extra = {
                "counts": np.minimum(counts, 65_535).astype(np.uint16),
                "start": counted.edges[:-1].astype(np.float64),
                "stop": counted.edges[1:].astype(np.float64),
            }
            whose = "anomalous images" if name == "class" else "outlier filters"
            if events is None:
                single.hide()
                self._explain(name, theme, f"{whose} per bin", f"{max(int(counts.max(initial=0)), 1)} {unit}", FAINTEST)
                low, height = face.row_place()
                place = (window[0], low, window[1] - window[0], height)
                picture = to_columns(counts, counted.edges, window, COLUMNS)
                face.set_tile(shaded(picture, int(counts.max(initial=0))), place, **extra)
            else:
                found = events.images if name == "class" else events.filters
                members = events.image_rows if name == "class" else events.filter_rows
                self._explain(name, theme, f"{whose} are being drawn \u2026", unit, FAINTEST_EVENT)
                what = f"{whose}, each at its place; ctrl + wheel zooms rows"
                single.on_drawn = partial(self._drawn, name, theme, what, unit)
                single.show(found, members, window, **extra)

    def _drawn(self, name: str, theme: Theme, what: str, unit: str, highest: int) -> None:
        most = f"{highest} {unit} at one place" if highest > 1 else f"alone, no two {unit} at one place"
        self._explain(name, theme, what, most, FAINTEST_EVENT)

    def _explain(self, name: str, theme: Theme, what: str, top: str, faintest: int) -> None:
        colors = count_colors(theme)[faintest :: (255 - faintest) // 9]
        self._captions[name].object = caption(f"{name.capitalize()} \u00d7 iteration", what, ("1", colors, top))

    def draw_pairs(self, found: xr.Dataset, theme: Theme) -> None:
        """Draw the layer x class face."""
        low, height = self.pair.row_place()
        shades = diverging(found["excess"].values, EXCESS_LIMIT)
        # Bokeh shows "NaN" for a NaN before any formatter can say what it means here.
        extra = {
            name: np.nan_to_num(found[name].values.astype(np.float64), nan=-1)
            for name in ("observed", "expected", "lift", "p_value", "q_value")
        }
        self.pair.set_tile(shades, (-0.5, low, max(len(self.classes.names), 1), height), **extra)
        strong = np.argwhere(np.nan_to_num(found["q_value"].values, nan=1.0) < SIGNIFICANT)
        self.pair.marks.data = {"x": strong[:, 1].tolist(), "y": (-strong[:, 0]).tolist()}
        colors = diverging_colors(theme)[::25]
        scale = (f"\u2212{EXCESS_LIMIT:g}", colors, f"+{EXCESS_LIMIT:g} sd")
        mark = f"q < {SIGNIFICANT}" if len(strong) else ""
        self._captions["pair"].object = caption("Layer \u00d7 class", "more than chance", scale, mark)

    def highlight(self, classes: list[int], layers: list[int]) -> None:
        """Outline the picked classes and layers on all faces."""
        self.by_class.highlight(classes)
        self.by_layer.highlight(layers)
        self.pair.highlight(layers, classes)

    def show_brush(self, span: tuple[float, float] | None) -> None:
        """Mark the brushed iterations on both faces that have them."""
        self.by_class.show_brush(span)
        self.by_layer.show_brush(span)

    def restyle(self, theme: Theme) -> None:
        """Take over a theme's colours; the captions follow with the next drawing."""
        for face in self.all.values():
            face.restyle(theme)
        for line in self._lines:
            line.line_color = theme.muted


def _brushed(event: SelectionGeometry, on_brush: Callable[[float, float], None]) -> None:
    if event.final:
        geometry: Any = event.geometry  # of a box: x0, x1, y0, y1
        on_brush(geometry["x0"], geometry["x1"])


def _line(dimension: Literal["width", "height"]) -> Span:
    return Span(dimension=dimension, line_width=1, line_alpha=0.8, line_dash=[2, 2], level="overlay")
