"""The wall's figures: HoloViews makes the frame of the picture, plain Bokeh the ruler above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # registers the backend, without what an extension prints in notebooks
import numpy as np
from bokeh.models import (
    BasicTicker,
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    HoverTool,
    PanTool,
    Range1d,
    WheelZoomTool,
)
from bokeh.models.annotations import BoxAnnotation, Span
from bokeh.plotting import figure

from deeptracker.app.theme import FONT, TEXT_SIZES, Theme
from deeptracker.app.wall import browser

RULER_HEIGHT, STRIP_HEIGHT = 40, 14
LEFT_OVERHANG, RIGHT_MARGIN = 24, 14
"""CSS pixels of the ruler left and right of the picture, so that the outermost ticks' labels have room."""
WHEEL_SPEED = 1 / 500


@dataclass(frozen=True)
class Face:
    """The figure that shows the picture, with everything in it that changes."""

    figure: Any
    tile: ColumnDataSource
    palette: ColumnDataSource
    report: ColumnDataSource
    marks: ColumnDataSource
    mark_glyph: Any
    landmarks: ColumnDataSource
    landmark_glyph: Any
    brush: BoxAnnotation
    band: BoxAnnotation
    cross: Span


def face(name: str, x_range: Range1d, y_range: Range1d) -> Face:
    """Make the figure that shows the picture: a stretching frame by HoloViews on the ranges given.

    The picture itself is a tile of indices in a source of its own; a look-up in the browser colours it.
    """
    built: list[Face] = []

    def attach(plot: Any, element: Any) -> None:
        built.append(_dress(name, plot.state, plot.handles["source"], x_range, y_range))

    nothing = np.zeros((2, 2, 4), np.uint8)
    frame = hv.RGB(nothing, bounds=(0, -1, 1, 0), kdims=["iteration", "row"]).opts(
        backend="bokeh",
        responsive=True,
        hooks=[attach],
        xaxis=None,
        yaxis=None,
        toolbar=None,
        default_tools=[],
        tools=[],
        border=0,
        # A wheel's gesture ends for Bokeh only after this timeout; 500 ms by default.
        lod={"factor": 10, "interval": 300, "threshold": None, "timeout": 60},
    )
    hv.render(frame, backend="bokeh")
    return built[-1]


def _dress(name: str, plot: Any, image: ColumnDataSource, x_range: Range1d, y_range: Range1d) -> Face:
    plot.update(
        x_range=x_range,
        y_range=y_range,
        sizing_mode="stretch_both",
        output_backend="canvas",  # webgl is nearly three times slower where there is no graphics card
        min_border=0,
        min_border_right=RIGHT_MARGIN,
        outline_line_color=None,
        min_width=100,
        min_height=60,
    )
    plot.grid.visible = False
    wheel = WheelZoomTool(dimensions="width", zoom_together="none", speed=WHEEL_SPEED)
    pan = PanTool()
    plot.tools = [wheel, pan]
    plot.toolbar.active_scroll, plot.toolbar.active_drag = wheel, pan
    tile = ColumnDataSource({"picture": [np.zeros((0, 0), np.uint8)], **_place(0, 1, 0, 1), "number": [0]})
    palette, report = ColumnDataSource(), ColumnDataSource({"drawn": [0], "ratio": [1.0]})
    show = CustomJS(
        args={"tile": tile, "image": image, "palette": palette, "report": report, "name": name},
        code=browser.SHOW_PICTURE,
    )
    tile.js_on_change("data", show)
    palette.js_on_change("tags", show)
    plot.tags = [tile]  # nothing else on the page refers to it, and only what is referred to reaches the browser
    plot.js_on_event("doubletap", CustomJS(args={"x_range": x_range, "y_range": y_range}, code=browser.RESET_RANGES))
    marks = ColumnDataSource({"x": [], "y": []})
    mark_glyph = plot.scatter("x", "y", source=marks, marker="inverted_triangle", size=7, line_width=1)
    landmarks = ColumnDataSource({"x": [], "label": []})
    landmark_glyph = plot.vspan(x="x", source=landmarks, line_dash=[3, 3], line_width=1)
    brush = BoxAnnotation(visible=False, level="overlay", propagate_hover=True)
    band = BoxAnnotation(visible=False, level="overlay")
    cross = Span(dimension="height", visible=False, level="overlay")
    for overlay in (brush, band, cross):
        plot.add_layout(overlay)
    return Face(plot, tile, palette, report, marks, mark_glyph, landmarks, landmark_glyph, brush, band, cross)


def aim_wheels(parts: Face, *rows_only: Any) -> None:
    """Let a plain wheel zoom iterations, with a modifier rows; over the figures `rows_only` always rows."""
    wheels: list[tuple[Any, str | None]] = [(parts.figure.toolbar.active_scroll, None)]
    wheels += [(plot.toolbar.active_scroll, "height") for plot in rows_only]
    parts.tile.js_on_change("data", CustomJS(args={"wheels": wheels}, code=browser.RETARGET_WHEEL))


def _place(first: float, last: float, top: float, bottom: float) -> dict[str, list[float]]:
    return {"x": [first], "y": [-bottom], "dw": [last - first], "dh": [bottom - top]}


def tile_data(picture: np.ndarray, number: int, first: float, last: float, top: float, bottom: float) -> dict[str, Any]:
    """Return the tile's data for a picture (its first line at the top) of iterations and rows."""
    # Bokeh draws an image from its bottom line up.
    return {"picture": [np.ascontiguousarray(picture[::-1])], **_place(first, last, top, bottom), "number": [number]}


@dataclass(frozen=True)
class Ruler:
    """The iteration axis above the picture, with a strip to brush on and the landmarks' flags."""

    figure: Any
    landmarks: ColumnDataSource
    flag_glyph: Any
    brush: BoxAnnotation


def ruler(x_range: Range1d) -> Ruler:
    """Make the ruler; a drag along it brushes, a double click removes the brush."""
    plot = figure(
        x_range=x_range,
        y_range=Range1d(start=0, end=1),
        height=RULER_HEIGHT,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        x_axis_location="above",
        min_border=0,
        min_border_left=LEFT_OVERHANG,
        min_border_right=RIGHT_MARGIN,
        min_border_top=RULER_HEIGHT - STRIP_HEIGHT,
        outline_line_color=None,
        output_backend="canvas",
        lod_threshold=None,
    )
    plot.yaxis.visible = False
    plot.grid.visible = False
    axis = plot.xaxis[0]
    axis.ticker = BasicTicker(desired_num_ticks=9, num_minor_ticks=0, min_interval=1)
    axis.formatter = CustomJSTickFormatter(code=browser.ITERATION_TICKS)
    axis.update(axis_line_color=None, major_tick_out=4, major_tick_in=0, major_label_standoff=3)
    axis.update(major_label_text_font_size=TEXT_SIZES["small"], major_label_text_font=FONT)
    landmarks = ColumnDataSource({"x": [], "label": []})
    flags = plot.scatter("x", 0.5, source=landmarks, marker="diamond", size=9, line_width=1)
    select = BoxSelectTool(dimensions="width", persistent=False, renderers=[])
    hover = HoverTool(renderers=[flags], tooltips=[("", "@label"), ("iteration", "@x{0,0}")])
    plot.add_tools(select, hover)
    plot.toolbar.active_drag = select
    brush = BoxAnnotation(visible=False, level="overlay")
    plot.add_layout(brush)
    return Ruler(plot, landmarks, flags, brush)


def restyle_face(parts: Face, theme: Theme) -> None:
    """Give the picture's figure the theme's colours; the picture itself only needs another palette."""
    parts.figure.update(background_fill_color=theme.blank, border_fill_color=theme.surface)
    parts.mark_glyph.glyph.update(fill_color=theme.anomaly, line_color=theme.plot)
    parts.landmark_glyph.glyph.update(line_color=theme.landmark, line_alpha=0.9)
    parts.band.update(
        fill_color=theme.selection, fill_alpha=0.05, line_color=theme.selection, line_alpha=0.65, line_width=1
    )
    parts.cross.update(line_color=theme.text, line_alpha=0.45, line_width=1)
    _restyle_brush(parts.brush, theme, 0.10)


def restyle_ruler(parts: Ruler, theme: Theme) -> None:
    """Give the ruler the theme's colours."""
    parts.figure.update(background_fill_color=theme.group_fill, border_fill_color=theme.surface)
    parts.figure.xaxis[0].update(major_label_text_color=theme.muted, major_tick_line_color=theme.stage_line)
    parts.flag_glyph.glyph.update(fill_color=theme.landmark, line_color=theme.surface)
    select = parts.figure.toolbar.active_drag
    _restyle_brush(select.overlay, theme, 0.25)
    _restyle_brush(parts.brush, theme, 0.30)


def _restyle_brush(box: BoxAnnotation, theme: Theme, alpha: float) -> None:
    box.update(
        fill_color=theme.accent, fill_alpha=alpha, line_color=theme.accent, line_alpha=0.9, line_width=1, line_dash=[]
    )
