"""One face of the correlation cube: a HoloViews image of rows x columns with its own tile and shared axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import holoviews as hv
import numpy as np
import numpy.typing as npt
from bokeh.models import (
    BasicTicker,
    BoxSelectTool,
    ColumnDataSource,
    CrosshairTool,
    CustomJS,
    CustomJSHover,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    PanTool,
    Range1d,
    WheelZoomTool,
)
from bokeh.models.annotations import BoxAnnotation, Span

from deeptracker.app.frames import rendered
from deeptracker.app.theme import FONT, Theme, ramp
from deeptracker.app.wall.browser import RETARGET_WHEEL

NO_BIN, ZERO, FAINTEST = 0, 1, 48
"""Shades of a tile (0..255): nothing known here, nothing found here, and the faintest of what was found."""

MOST_LABELS = 16
LONGEST_LABEL = 18
LETTER_WIDTH = 6.8
"""Pixels that a letter of an axis label takes, about."""

ITERATION_TICKS = """
const big = Math.abs(tick) >= 1e6 ? [1e6, "M"] : Math.abs(tick) >= 1e4 ? [1e3, "k"] : [1, ""];
return Number((tick / big[0]).toPrecision(6)).toString() + big[1];
"""
NAME_TICKS = """
const name = names[Math.round(tick * sign)];
if (name == null || Math.abs(tick - Math.round(tick)) > 1e-6) return "";
const half = Math.floor(longest / 2);
return name.length > longest ? name.slice(0, half - 1) + "…" + name.slice(-half) : name;
"""
NAME_HOVER = "const name = names[Math.round(special_vars[axis] * sign)]; return name == null ? '' : name;"
BIN_HOVER = """
const {start, stop} = source.data; const x = special_vars.x;
const at = start[0].findIndex((first, i) => first <= x && x < stop[0][i]);
if (at < 0) return "outside of all bins";
const text = (n) => Math.round(n).toLocaleString("en-US");
return text(start[0][at]) + " to " + text(stop[0][at] - 1);
"""
COUNT_HOVER = """
const {start, stop, counts} = source.data; const x = special_vars.x;
const at = start[0].findIndex((first, i) => first <= x && x < stop[0][i]);
const row = Math.round(special_vars.y * sign);
return at < 0 ? "\u2013" : String(counts[0][row * start[0].length + at]);
"""
CELL_HOVER = """
const row = Math.round(special_vars.y * rows), column = Math.round(special_vars.x * columns);
const found = source.data[name][0][row * width[0] + column];
if (found == null || found < 0) return missing;
return name.endsWith("_value") && found < 1e-3 ? found.toExponential(1) : Number(found.toPrecision(3)).toString();
"""


@dataclass(frozen=True)
class NamedAxis:
    """An axis whose places 0, 1, 2 … have names. With `sign` -1 the first is on top."""

    names: list[str]
    sign: int
    range: Range1d

    @classmethod
    def of(cls, names: Sequence[str], sign: int = 1) -> NamedAxis:
        """Return an axis with room for all names."""
        low, high = (-0.5, len(names) - 0.5) if sign > 0 else (0.5 - len(names), 0.5)
        bounds = (low, max(high, low + 1))
        return cls(
            list(names),
            sign,
            Range1d(start=bounds[0], end=bounds[1], bounds=bounds, min_interval=min(2, bounds[1] - bounds[0])),
        )

    def place(self, value: float) -> int | None:
        """Return the number of the name at a coordinate, None beside all."""
        number = round(value * self.sign)
        return number if 0 <= number < len(self.names) else None

    def border(self) -> int:
        """Return the pixels its labels need."""
        longest = min(max((len(name) for name in self.names), default=0), LONGEST_LABEL)
        return int(longest * LETTER_WIDTH) + 14


def shaded(counts: npt.NDArray[Any], highest: float, faintest: int = FAINTEST) -> npt.NDArray[np.uint8]:
    """Return counts as shades from `faintest` on: logarithmic, one is visible beside a hundred. NaN is no bin."""
    known = np.nan_to_num(counts, nan=0.0)
    share = np.log1p(known - 1, where=known >= 1, out=np.zeros_like(known, np.float64)) / np.log1p(max(highest - 1, 1))
    shade = np.where(known >= 1, faintest + np.clip(share, 0, 1) * (255 - faintest), ZERO)
    return np.where(np.isnan(counts), NO_BIN, shade).astype(np.uint8)


def diverging(values: npt.NDArray[Any], limit: float) -> npt.NDArray[np.uint8]:
    """Return values as shades about the middle one (128), full at plus and minus `limit`."""
    return np.asarray(128 + np.clip(values / limit, -1, 1) * 127, np.uint8)


def count_colors(theme: Theme) -> list[str]:
    """Return the 256 colours of shaded counts."""
    colors = ramp(theme.heat, 256)
    colors[NO_BIN], colors[ZERO] = theme.plot, theme.blank
    return colors


def diverging_colors(theme: Theme) -> list[str]:
    """Return the 256 colours of shades about a middle."""
    return ramp(theme.diverging, 256)


def tooltip(rows: list[tuple[str, str]], theme: Theme) -> str:
    """Return a hover's rows of label and value as HTML."""
    lines = "".join(
        f'<tr><td style="color:{theme.muted};padding-right:10px">{label}</td><td>{value}</td></tr>'
        for label, value in rows
    )
    return hover_box(f'<table style="border-spacing:0">{lines}</table>', theme)


def hover_box(content: str, theme: Theme) -> str:
    """Return a hover's HTML in a box of a theme's colours, which Bokeh's own does not follow."""
    style = f"margin:-5px;padding:6px 10px;background:{theme.raised};color:{theme.text};font:12px/1.5 {escape(FONT)}"
    return f'<div style="{style}">{content}</div>'


class FacePlot:
    """The figure of one face; `figure` is a Bokeh figure made by HoloViews, `set_tile` fills it."""

    def __init__(self, y: NamedAxis, *, x: NamedAxis | Range1d, name: str, colors: Any) -> None:
        self.x, self.y, self.colors = x, y, colors
        self.mapper = LinearColorMapper(palette=["#000000"] * 256, low=-0.5, high=255.5)
        image = hv.Image(np.zeros((1, 1)), bounds=(0, 0, 1, 1)).opts(
            backend="bokeh", tools=[], default_tools=[], toolbar=None, responsive=True, xlabel="", ylabel=""
        )
        self.figure = rendered(image)
        self.figure.update(
            x_range=x.range if isinstance(x, NamedAxis) else x,
            y_range=y.range,
            name=name,
            output_backend="canvas",
            min_width=120,
            min_height=90,
            lod_threshold=None,
        )
        self.tile = self.figure.renderers[0]
        self.tile.glyph.color_mapper = self.mapper
        self.source: ColumnDataSource = self.tile.data_source
        self.marks = ColumnDataSource({"x": [], "y": []})
        self._hover: HoverTool | None = None
        self._tooltips: list[tuple[str, str]] = []
        self.rows, self.columns = ColumnDataSource({"low": [], "high": []}), ColumnDataSource({"low": [], "high": []})
        self.dots = self.figure.scatter("x", "y", source=self.marks, size=5, line_width=1.2)
        self.row_strips = self.figure.hstrip("low", "high", source=self.rows, fill_alpha=0, line_width=1.5)
        self.column_strips = self.figure.vstrip("low", "high", source=self.columns, fill_alpha=0, line_width=1.5)
        self.brush = BoxAnnotation(visible=False, fill_alpha=0.14, line_width=1.5, editable=False)
        self.figure.add_layout(self.brush)
        self._label(self.figure.yaxis[0], y)
        if isinstance(x, NamedAxis):
            self._label(self.figure.xaxis[0], x)
        else:
            self.figure.xaxis[0].formatter = CustomJSTickFormatter(code=ITERATION_TICKS)
        self.figure.xgrid.visible = self.figure.ygrid.visible = False

    def _label(self, axis: Any, named: NamedAxis) -> None:
        count = len(named.names)
        if count <= MOST_LABELS:
            axis.ticker = FixedTicker(ticks=[number * named.sign for number in range(count)], minor_ticks=[])
        else:
            axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=12, num_minor_ticks=0)
        arguments = {"names": named.names, "sign": named.sign, "longest": LONGEST_LABEL}
        axis.formatter = CustomJSTickFormatter(args=arguments, code=NAME_TICKS)

    def tools(self, spans: tuple[Span, Span], tooltips: list[tuple[str, str]], formatters: dict[str, Any]) -> None:
        """Give the face its hover and gestures: the wheel zooms, dragging brushes iterations or, without them, pans."""
        brushes = not isinstance(self.x, NamedAxis)
        wheel = WheelZoomTool(dimensions="width" if brushes else "both", maintain_focus=False)
        drag: Any = BoxSelectTool(dimensions="width", continuous=False) if brushes else PanTool()
        if brushes:
            drag.overlay.update(fill_alpha=0.14, line_width=1.5, line_dash="solid")
        self._tooltips = tooltips
        self._hover = HoverTool(renderers=[self.tile], tooltips=tooltips, formatters=formatters, show_arrow=False)
        self.figure.add_tools(wheel, drag, self._hover, CrosshairTool(overlay=spans))
        self.figure.toolbar.update(active_scroll=wheel, active_drag=drag)
        if brushes:
            # A plain wheel zooms iterations, with a modifier rows, as on the walls.
            self.source.js_on_change("data", CustomJS(args={"wheels": [(wheel, None)]}, code=RETARGET_WHEEL))

    def set_tile(self, shades: npt.NDArray[np.uint8], place: tuple[float, float, float, float], **extra: Any) -> None:
        """Draw shades (row, column), row 0 first, over (x, y, width, height); `extra` are arrays for the hover."""
        x, y, width, height = place
        ordered = shades if self.y.sign > 0 else shades[::-1]
        self.source.data = {
            "image": [np.ascontiguousarray(ordered)],
            "x": [x],
            "y": [y],
            "dw": [width],
            "dh": [height],
            **{name: [values] for name, values in extra.items()},
        }

    def row_place(self) -> tuple[float, float]:
        """Return bottom and height of all rows."""
        count = len(self.y.names)
        return (-0.5, count) if self.y.sign > 0 else (0.5 - count, count)

    def highlight(self, rows: Sequence[int], columns: Sequence[int] = ()) -> None:
        """Outline rows and columns."""
        places = [row * self.y.sign for row in rows]
        self.rows.data = {"low": [place - 0.5 for place in places], "high": [place + 0.5 for place in places]}
        self.columns.data = {"low": [place - 0.5 for place in columns], "high": [place + 0.5 for place in columns]}

    def show_brush(self, span: tuple[float, float] | None) -> None:
        """Mark the brushed iterations."""
        if span is None:
            self.brush.visible = False
        else:
            self.brush.update(left=span[0], right=span[1], visible=True)

    def restyle(self, theme: Theme) -> None:
        """Take over a theme's colours."""
        plot = self.figure
        self.mapper.palette = self.colors(theme)
        plot.background_fill_color = plot.border_fill_color = None
        plot.outline_line_color = theme.group_line
        self.dots.glyph.update(fill_color=theme.text, line_color=theme.plot)
        for strips in (self.row_strips, self.column_strips):
            strips.glyph.line_color = theme.selection
        if self._hover is not None:
            self._hover.tooltips = tooltip(self._tooltips, theme)
        boxes = [self.brush, *(tool.overlay for tool in plot.tools if isinstance(tool, BoxSelectTool))]
        for box in boxes:
            box.update(fill_color=theme.accent, line_color=theme.accent)
        for axis in (*plot.xaxis, *plot.yaxis):
            axis.update(
                axis_line_color=None,
                major_tick_line_color=theme.border,
                minor_tick_line_color=None,
                major_label_text_color=theme.muted,
                major_label_text_font=FONT,
                major_label_text_font_size="11px",
                major_tick_in=0,
                major_tick_out=3,
                major_label_standoff=4,
            )


def name_hover(axis: NamedAxis, coordinate: str) -> CustomJSHover:
    """Return a hover formatter that names the place on an axis; `coordinate` is "x" or "y"."""
    return CustomJSHover(args={"names": axis.names, "sign": axis.sign, "axis": coordinate}, code=NAME_HOVER)


def bin_hover(source: ColumnDataSource) -> CustomJSHover:
    """Return a hover formatter that gives the iterations of the bin."""
    return CustomJSHover(args={"source": source}, code=BIN_HOVER)


def count_hover(source: ColumnDataSource, sign: int) -> CustomJSHover:
    """Return a hover formatter that gives the exact count of the cell."""
    return CustomJSHover(args={"source": source, "sign": sign}, code=COUNT_HOVER)


def cell_hover(face: FacePlot, name: str, columns: NamedAxis, missing: str = "\u2013") -> CustomJSHover:
    """Return a hover formatter for the array `name` of a face whose columns have names."""
    arguments = {
        "source": face.source,
        "name": name,
        "rows": face.y.sign,
        "columns": columns.sign,
        "width": [len(columns.names)],
        "missing": missing,
    }
    return CustomJSHover(args=arguments, code=CELL_HOVER)
