"""All filters of a layer as lines on one another, dense where many run; the ones picked are drawn over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import panel as pn
from bokeh.events import DoubleTap, Tap
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    PanTool,
    Range1d,
    WheelZoomTool,
)
from bokeh.models.annotations import Label

from deeptracker.app import line_density
from deeptracker.app.compiled import ready
from deeptracker.app.face_plot import FacePlot, NamedAxis, count_colors, shaded, tooltip
from deeptracker.app.later import in_order
from deeptracker.app.line_density import Corners
from deeptracker.app.theme import FONT, THEMES
from deeptracker.app.wall.browser import RETARGET_WHEEL
from deeptracker.app.wall.pacing import Pacer
from deeptracker.app.wall.source import Envelope, EnvelopeSource

MOST_PICKED = 24
"""Picked lines that are drawn one by one."""
MARGIN_RIGHT = 14
WAITING = "The lines are being drawn for the first time \u2026"
VALUE_TICKS = """
const value = logarithmic.tags[0] ? Math.pow(10, tick) : tick, size = Math.abs(value);
return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(0) : Number(value.toPrecision(3)).toString();
"""
VALUE_HOVER = """
const at = special_vars.y, shown = logarithmic.tags[0] ? Math.pow(10, at) : at, size = Math.abs(shown);
return size !== 0 && (size < 1e-3 || size >= 1e5) ? shown.toExponential(2) : Number(shown.toPrecision(3)).toString();
"""


def value_ticks(low: float, high: float, logarithmic: bool, most: int = 5) -> list[float]:
    """Return places of labels on an axis of values, or of their decimal logarithms.

    >>> value_ticks(-3.2, 0.1, True)
    [-3.0, -2.0, -1.0, 0.0]
    """
    span = max(high - low, 1e-12)
    if logarithmic and span >= 1.5:
        step = float(max(1, round(span / most)))
    else:
        rough = span / most
        size = 10.0 ** np.floor(np.log10(rough))
        step = float(min((one for one in (1, 2, 5, 10) if one * size >= rough), default=10) * size)
    first = np.ceil(low / step - 1e-9)
    return [float(one * step) for one in np.arange(first, np.floor(high / step + 1e-9) + 1)]


class DensityPlot:
    """Draws lines of a source at screen resolution; `on_pick(entity)` hears which of them was clicked."""

    def __init__(self, iterations: Range1d, gutter_width: int, on_pick: Callable[[int], None]) -> None:
        self.on_pick, self.iterations = on_pick, iterations
        self.source: EnvelopeSource | None = None
        self.entities: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.picked: list[int] = []
        self.title, self.logarithmic, self.theme = "", False, "light"
        self.redraws, self.seconds = 0, 0.0
        self.drawn: Envelope | None = None
        self.on_error: Callable[[Exception], None] | None = None
        self.shown = False
        self._own = False
        self._moving = False
        self._size = (0, 0)
        self.values = Range1d(start=0, end=1, name="density values")
        self.face = FacePlot(NamedAxis([""], 1, self.values), x=iterations, name="filter lines", colors=count_colors)
        self._scale = ColumnDataSource(tags=[False])
        self._lines = ColumnDataSource({"xs": [], "ys": []})
        self._lost = ColumnDataSource({"x": [], "y": []})
        self._dress(gutter_width)
        self.pacer = Pacer(in_order(self._guarded_draw), self._timers)
        self._listen()
        pane = pn.pane.Bokeh(self.face.figure, sizing_mode="stretch_both", margin=0, min_height=90)
        self.layout = pn.Column(pane, sizing_mode="stretch_both", margin=0, css_classes=["filter-density"])

    def _dress(self, gutter_width: int) -> None:
        plot = self.face.figure
        plot.update(min_border_left=gutter_width, min_border_right=MARGIN_RIGHT, min_border_top=6, min_border_bottom=34)
        # What is picked is outlined by lines here, not by rows as on a face.
        for glyph in (self.face.row_strips, self.face.column_strips, self.face.dots):
            glyph.visible = False
        self.picked_glyph = plot.multi_line("xs", "ys", source=self._lines, line_width=1.6)
        self._waiting = Label(
            x=16, y=16, x_units="screen", y_units="screen", text=WAITING, text_font=FONT, text_font_size="12px"
        )
        plot.add_layout(self._waiting)
        self.lost_glyph = plot.scatter("x", "y", source=self._lost, marker="inverted_triangle", size=8)
        axis = plot.yaxis[0]
        axis.ticker = FixedTicker(ticks=[], minor_ticks=[])
        axis.formatter = CustomJSTickFormatter(args={"logarithmic": self._scale}, code=VALUE_TICKS)
        plot.xaxis[0].axis_label = "iteration"
        value = CustomJSHover(args={"logarithmic": self._scale}, code=VALUE_HOVER)
        wheel, drag = WheelZoomTool(dimensions="width", maintain_focus=False), PanTool()
        plot.add_tools(wheel, drag)
        plot.toolbar.update(active_scroll=wheel, active_drag=drag)
        # A plain wheel zooms iterations, with a modifier values, as on the walls.
        self.face.source.js_on_change("data", CustomJS(args={"wheels": [(wheel, None)]}, code=RETARGET_WHEEL))
        self._hover = HoverTool(renderers=[self.face.tile], show_arrow=False, formatters={"$y": value})
        plot.add_tools(self._hover)

    def _listen(self) -> None:
        for end in ("start", "end"):
            self.iterations.on_change(end, self._moved)
            self.values.on_change(end, self._zoomed)
        for side in ("inner_width", "inner_height"):
            self.face.figure.on_change(side, self._resized)
        self.face.figure.on_event(Tap, in_order(self._tapped))
        self.face.figure.on_event(DoubleTap, in_order(lambda event: self.fit()))

    def close(self) -> None:
        """Let go of the shared range."""
        self.pacer.stop()
        for end in ("start", "end"):
            self.iterations.remove_on_change(end, self._moved)

    def show(self, source: EnvelopeSource, entities: Sequence[int], title: str, logarithmic: bool) -> None:
        """Draw the lines of other entities or of another statistic, `title` with its unit, all of their values."""
        self.source, self.entities = source, np.asarray(entities, np.int32)
        self.title, self.logarithmic = title, logarithmic
        self._scale.tags = [logarithmic]
        self.face.figure.yaxis[0].axis_label = title
        self._hover.tooltips = _tooltip(title, self.theme)
        self.fit()

    def fit(self) -> None:
        """Show all values again."""
        self._own = False
        self.request()

    def pick(self, entities: Sequence[int]) -> None:
        """Draw the lines of these entities over the others."""
        self.picked = [one for one in entities if one in set(self.entities.tolist())]
        self._draw_picked()

    def request(self) -> None:
        """Draw soon, if it is on screen."""
        if self.shown:
            self.pacer.request()

    def restyle(self, theme: str) -> None:
        """Take over a theme's colours."""
        self.theme = theme
        colors = THEMES[theme]
        self.face.restyle(colors)
        plot = self.face.figure
        for axis in (plot.xaxis[0], plot.yaxis[0]):
            axis.update(axis_label_text_color=colors.muted, axis_label_text_font=FONT)
            axis.update(axis_label_text_font_size="11px", axis_label_text_font_style="normal", axis_label_standoff=4)
        self.picked_glyph.glyph.line_color = colors.selection
        self._waiting.text_color = colors.muted
        self.lost_glyph.glyph.update(fill_color=colors.nonfinite, line_color=colors.plot)
        self._hover.tooltips = _tooltip(self.title, theme)

    # ---- what the browser does

    def _timers(self) -> Any:
        document = self.face.figure.document
        return document if document is not None and document.session_context is not None else None

    def _moved(self, attr: str, old: Any, new: Any) -> None:
        self.request()

    def _zoomed(self, attr: str, old: Any, new: Any) -> None:
        if not self._moving:
            self._own = True
            self.request()

    def _resized(self, attr: str, old: Any, new: Any) -> None:
        width, height = self._size
        self._size = (int(new or 0), height) if attr == "inner_width" else (width, int(new or 0))
        self.request()

    def _tapped(self, event: Tap) -> None:
        if self.drawn is None or event.x is None or event.y is None:
            return
        row = line_density.nearest(self.drawn, event.x, event.y)
        if row is not None:
            self.on_pick(int(self.entities[row]))

    # ---- drawing

    def _guarded_draw(self) -> bool:
        try:
            self._draw()
        except Exception as error:
            # A picture drawn by a timer has no caller to hear of it.
            if self.on_error is None:
                raise
            self.on_error(error)
        return False  # the browser acknowledges nothing here, so nothing is waited for

    def _draw(self) -> None:
        width, height = self._size
        if self.source is None or width < 2 or height < 2 or not ready(self._timers(), self.request):
            return
        began = time.perf_counter()
        window = (float(_end(self.iterations, "start")), float(_end(self.iterations, "end")))
        columns = line_density.columns_for(len(self.entities), width)
        span = (int(np.floor(window[0])), max(int(np.ceil(window[1])), int(window[0]) + 1))
        found = self.source.envelope(self.entities, span, columns) if len(self.entities) else Envelope.empty(0)
        found = line_density.narrowed(found, window, columns)
        self.drawn = line_density.logarithms(found) if self.logarithmic else found
        if not self._own:
            self._fit_values()
        values = (float(_end(self.values, "start")), float(_end(self.values, "end")))
        self.face.figure.yaxis[0].ticker = FixedTicker(ticks=value_ticks(*values, self.logarithmic))
        counts = line_density.density(line_density.corners(self.drawn), window, values, width, height)
        place = (window[0], values[0], window[1] - window[0], values[1] - values[0])
        self.face.set_tile(shaded(counts.astype(np.float32), float(counts.max(initial=1))), place)
        lost = np.flatnonzero(self.drawn.nonfinite.any(axis=0))
        middle = (self.drawn.start[lost] + self.drawn.stop[lost]) / 2
        self._lost.data = {"x": middle, "y": np.full(len(lost), values[1] - 0.02 * (values[1] - values[0]))}
        self._draw_picked()
        self._waiting.visible = False
        self.redraws += 1
        self.seconds = time.perf_counter() - began

    def _fit_values(self) -> None:
        assert self.drawn is not None
        low, high = line_density.limits(self.drawn)
        self._moving = True
        try:
            self.values.update(start=low, end=high, reset_start=low, reset_end=high)
        finally:
            self._moving = False

    def _draw_picked(self) -> None:
        if self.drawn is None:
            return
        row = {entity: number for number, entity in enumerate(self.entities.tolist())}
        lines: Corners = line_density.corners(self.drawn)
        chosen = [row[one] for one in self.picked[-MOST_PICKED:] if one in row and row[one] < len(lines.y)]
        self._lines.data = {"xs": [lines.x for _ in chosen], "ys": [lines.y[one] for one in chosen]}


def _end(of: Range1d, name: str) -> Any:
    return getattr(of, name)


def _tooltip(title: str, theme: str) -> str:
    return tooltip([("iteration", "$x{0,0}"), (title or "value", "$y{custom}")], THEMES[theme])
