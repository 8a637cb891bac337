"""Small figures for marks on shared axes: framed by HoloViews, dressed in the theme, with names on their axes."""

from __future__ import annotations

from typing import Any

import holoviews as hv
from bokeh.models import CustomJSTickFormatter, HoverTool, PanTool, Range1d, WheelZoomTool

from deeptracker.app.face_plot import ITERATION_TICKS, tooltip
from deeptracker.app.frames import rendered
from deeptracker.app.theme import FONT, Theme

RIGHT = 14
"""Pixels right of a figure's frame, as of all that share the iteration axis."""


def plain_figure(
    name: str, x: Range1d, y: Range1d, *, left: int, x_label: str = "", y_label: str = "", below: int = 22
) -> Any:
    """Return an empty figure over two ranges whose frame begins `left` pixels from its side."""
    frame = hv.Curve([(0.0, 0.0)]).opts(
        backend="bokeh", tools=[], default_tools=[], toolbar=None, responsive=True, xlabel=x_label, ylabel=y_label
    )
    figure = rendered(frame)
    figure.renderers = []
    figure.update(
        x_range=x,
        y_range=y,
        name=name,
        output_backend="canvas",
        min_width=100,
        min_height=40,
        lod_threshold=None,
        min_border_left=left,
        min_border_right=RIGHT,
        min_border_top=4,
        min_border_bottom=below,
    )
    figure.xgrid.visible = False
    return figure


def over_iterations(figure: Any) -> None:
    """Write iterations on the axis as everywhere, and let the wheel zoom and a drag move them."""
    figure.xaxis[0].formatter = CustomJSTickFormatter(code=ITERATION_TICKS)
    wheel, drag = WheelZoomTool(dimensions="width", maintain_focus=False), PanTool(dimensions="width")
    figure.add_tools(wheel, drag)
    figure.toolbar.update(active_scroll=wheel, active_drag=drag)


def dress(figure: Any, theme: Theme) -> None:
    """Take over a theme's colours and letters."""
    figure.background_fill_color = figure.border_fill_color = None
    figure.outline_line_color = theme.group_line
    for grid in figure.ygrid:
        grid.grid_line_color = theme.grid
    for axis in (*figure.xaxis, *figure.yaxis):
        axis.update(
            axis_line_color=None,
            major_tick_line_color=theme.border,
            minor_tick_line_color=None,
            major_label_text_color=theme.muted,
            major_label_text_font=FONT,
            major_label_text_font_size="11px",
            major_tick_in=0,
            major_tick_out=3,
            axis_label_text_color=theme.muted,
            axis_label_text_font=FONT,
            axis_label_text_font_size="11px",
            axis_label_text_font_style="normal",
            axis_label_standoff=4,
        )


def hover(figure: Any, renderers: list[Any], **options: Any) -> HoverTool:
    """Add a hover over some renderers; its words come with `say`."""
    tool = HoverTool(renderers=renderers, show_arrow=False, tooltips=None, **options)
    figure.add_tools(tool)
    return tool


def say(tool: HoverTool, rows: list[tuple[str, str]], theme: Theme) -> None:
    """Give a hover its words in a theme's colours."""
    tool.tooltips = tooltip(rows, theme)
