"""The box on the timeline that shows which iterations are on screen, and that is dragged to show others."""

from __future__ import annotations

from typing import Any

from bokeh.models import BoxSelectTool, CustomJS
from bokeh.models.annotations import BoxAnnotation

from deeptracker.app.axes import Axes
from deeptracker.app.theme import Theme

# The box stands where the range is. Over the whole run it would only be in the way of drawing a new one.
PLACE = """
const [low, high] = range.bounds;
const part = range.start > low || range.end < high;
box.setv({left: range.start, right: range.end, left_limit: low, right_limit: high, min_width: range.min_interval,
  editable: part, fill_alpha: part ? 0.12 : 0, line_alpha: part ? 1 : 0});
"""
MOVED = """
if (Math.abs(box.left - range.start) + Math.abs(box.right - range.end) > 1e-9)
  range.setv({start: box.left, end: box.right});
"""
DRAWN = """
const [low, high] = range.bounds;
const start = Math.max(low, cb_obj.geometry.x0), end = Math.min(high, cb_obj.geometry.x1);
if (cb_obj.final && end - start >= range.min_interval) range.setv({start, end});
"""
# Zooms the shared range about the iteration under the mouse; the plot itself always shows the whole run.
WHEEL = """
const [low, high] = range.bounds;
const factor = Math.exp(-Math.max(-300, Math.min(300, cb_obj.delta)) / 300);
const at = Math.max(low, Math.min(high, cb_obj.x));
const width = Math.max(range.min_interval, Math.min(high - low, (range.end - range.start) * factor));
const share = Math.max(0, Math.min(1, (at - range.start) / (range.end - range.start)));
const start = Math.max(low, Math.min(high - width, at - share * width));
range.setv({start: start, end: start + width});
"""
WHOLE = "const [low, high] = range.bounds; range.setv({start: low, end: high});"


class WindowBox:
    """Ties a box to the session's shared range; made once, before the range is on any page.

    Adding callbacks to a range that a page already shows can reach the browser before the models they speak of do,
    so a figure that is made anew takes over the same box.
    """

    def __init__(self, axes: Axes) -> None:
        self.range: Any = axes.iterations
        part = axes.window != axes.whole
        self.box: Any = BoxAnnotation(
            left=axes.window[0],
            right=axes.window[1],
            left_limit=axes.whole[0],
            right_limit=axes.whole[1],
            movable="x",
            resizable="x",
            editable=part,
            fill_alpha=0.12 * part,
            line_alpha=float(part),
            line_width=1.5,
            level="overlay",
            syncable=False,  # the range tells the server; the box only shows it
        )
        arguments = {"range": self.range, "box": self.box}
        for change in ("start", "end", "bounds"):
            self.range.js_on_change(change, CustomJS(args=arguments, code=PLACE))
        for change in ("left", "right"):
            self.box.js_on_change(change, CustomJS(args=arguments, code=MOVED))

    def attach(self, plot: Any) -> Any:
        """Put the box on a plot of the whole run, with drawing, wheel and double click; return the drawing tool."""
        plot.add_layout(self.box)
        drawing: Any = BoxSelectTool(dimensions="width", renderers=[], persistent=False)
        plot.add_tools(drawing)
        plot.toolbar.active_drag = drawing
        for event, code in (("selectiongeometry", DRAWN), ("wheel", WHEEL), ("doubletap", WHOLE)):
            plot.js_on_event(event, CustomJS(args={"range": self.range}, code=code))
        return drawing

    def restyle(self, drawing: Any, theme: Theme) -> None:
        """Take over the theme's colours."""
        for box in (self.box, drawing.overlay):
            box.update(fill_color=theme.accent, line_color=theme.accent, line_dash="solid")
        drawing.overlay.fill_alpha = 0.12
