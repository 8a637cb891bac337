"""The whole run in one strip, always visible: loss and validation error, with the window on screen as a box."""

from __future__ import annotations

from typing import Any

import panel as pn
from bokeh.core.properties import value
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    CustomJSTickFormatter,
    HoverTool,
    LinearAxis,
    LinearScale,
    LogAxis,
    Range1d,
    RangeTool,
)
from bokeh.models.annotations import LabelSet
from bokeh.plotting import figure

from deeptracker.app.session import Session
from deeptracker.app.theme import FONT, THEMES
from deeptracker.app.timelines import is_logarithmic, limits, training_timeline, validation_timeline

HEIGHT = 112

# Short iteration numbers (12.5k, 1.2M), exact where the axis shows single iterations.
ITERATION_TICKS = """
const big = Math.abs(tick) >= 1e6 ? [1e6, "M"] : Math.abs(tick) >= 1e4 ? [1e3, "k"] : [1, ""];
return Number((tick / big[0]).toPrecision(6)).toString() + big[1];
"""

# Zooms the shared window about the iteration under the mouse; the plot itself always shows the whole run.
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
# Over the whole run the box would only be in the way of drawing a new one.
SHOW_BOX = """
const part = range.start > range.bounds[0] || range.end < range.bounds[1];
box.setv({editable: part, fill_alpha: part ? 0.12 : 0, line_alpha: part ? 1 : 0});
"""
LATE = 0.85
"""Share of the run after which a label stands left of its line, where it has room."""
MOST_LABELS = 6
"""Landmarks that are labelled; more would overlap, and still answer to the mouse."""
READABLE = "return value == null || isNaN(value) ? 'none' : Number(value.toPrecision(4)).toString();"


class Overview:
    """The strip: a Bokeh figure over the whole run whose box is the session's shared iteration range.

    Drag the box or its edges, drag beside it for a new one, wheel to zoom, double-click for the whole run.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        training = training_timeline(session.run)
        self._logarithmic = is_logarithmic(training)
        self._training: Any = ColumnDataSource()
        self._validation: Any = ColumnDataSource()
        self._marks: Any = ColumnDataSource({"x": [], "label": []})
        self._labelled: Any = ColumnDataSource({"x": [], "label": [], "align": [], "offset": []})
        first, stop = session.axes.whole
        self._labels = {"training": training.label, "validation": "validation error"}
        self.figure: Any = figure(
            height=HEIGHT,
            sizing_mode="stretch_width",
            x_range=Range1d(start=first, end=stop),
            y_range=Range1d(start=0, end=1),
            y_axis_type="log" if self._logarithmic else "linear",
            tools="",
            toolbar_location=None,
            output_backend="canvas",
            min_border_left=64,
            min_border_right=64,
            min_border_top=4,
            name="overview",
        )
        self._second = Range1d(start=0, end=1)
        self.figure.extra_y_ranges = {"validation": self._second}
        self.figure.extra_y_scales = {"validation": LinearScale()}
        self._draw()
        self._interact()
        self.restyle()
        self.update()

    def _draw(self) -> None:
        plot = self.figure
        self._envelope = plot.varea("x", "low", "high", source=self._training, level="underlay")
        self._line = plot.line("x", "mean", source=self._training, line_width=1.4)
        self._error = plot.line("x", "mean", source=self._validation, y_range_name="validation", line_width=1.6)
        self._rules = plot.vspan("x", source=self._marks, line_dash=[3, 3], line_width=1, level="underlay")
        self._words = LabelSet(
            x="x",
            y=HEIGHT - 46,
            y_units="screen",
            text="label",
            x_offset="offset",
            text_align="align",
            source=self._labelled,
            text_font_size="10px",
            text_font=value(FONT),
        )
        plot.add_layout(self._words)
        self._right: Any = LinearAxis(y_range_name="validation", axis_label="val. error")
        plot.add_layout(self._right, "right")
        self._left = plot.yaxis[0]
        self._left.axis_label = self._labels["training"] + (" (log)" if isinstance(self._left, LogAxis) else "")
        plot.xaxis.formatter = CustomJSTickFormatter(code=ITERATION_TICKS)
        self._right.ticker.desired_num_ticks = 3
        self._left.ticker.desired_num_ticks = 3
        self._right.formatter = BasicTickFormatter(use_scientific=False)
        plot.xgrid.visible = False

    def _interact(self) -> None:
        plot, shared = self.figure, self.session.axes.iterations
        self._box: Any = RangeTool(x_range=shared, start_gesture="pan")
        plot.add_tools(self._box)
        part = self.session.window != self.session.axes.whole
        self._box.overlay.update(editable=part, fill_alpha=0.12 * part, line_alpha=float(part))
        box = CustomJS(args={"range": shared, "box": self._box.overlay}, code=SHOW_BOX)
        for change in ("start", "end", "bounds"):
            shared.js_on_change(change, box)
        plot.js_on_event("wheel", CustomJS(args={"range": shared}, code=WHEEL))
        plot.js_on_event("doubletap", CustomJS(args={"range": shared}, code=WHOLE))
        readable = CustomJSHover(code=READABLE)
        plot.add_tools(
            HoverTool(
                renderers=[self._line],
                mode="vline",
                tooltips=[
                    ("iteration", "@x{0,0}"),
                    (self._labels["training"] or "value", "@mean{custom} (@low{custom} to @high{custom})"),
                ],
                formatters={"@mean": readable, "@low": readable, "@high": readable},
            ),
            HoverTool(
                renderers=[self._rules],
                tooltips=[("iteration", "@x{0,0}"), ("", "@label")],
            ),
        )

    def outgrown(self) -> bool:
        """Whether the loss has come to ask for another kind of axis than the strip was made with."""
        training = training_timeline(self.session.run)
        return is_logarithmic(training) != self._logarithmic or training.label != self._labels["training"]

    def update(self) -> None:
        """Take over what the run has now."""
        run, axes = self.session.run, self.session.axes
        training, validation = training_timeline(run), validation_timeline(run)
        first, stop = axes.whole
        self.figure.x_range.update(start=first, end=stop)
        low, high = limits(training, self._logarithmic)
        self.figure.y_range.update(start=low, end=high)
        low, high = limits(validation, False)
        self._second.update(start=max(0.0, low), end=min(1.02, max(high, 0.02)))
        self._training.data = training.columns()
        self._validation.data = validation.columns()
        marks = self.session.landmarks()
        self._marks.data = {"x": [mark.iteration for mark in marks], "label": [mark.label for mark in marks]}
        labelled = marks if len(marks) <= MOST_LABELS else []
        late = [mark.iteration > first + LATE * (stop - first) for mark in labelled]
        self._labelled.data = {
            "x": [mark.iteration for mark in labelled],
            "label": [mark.label for mark in labelled],
            "align": ["right" if one else "left" for one in late],
            "offset": [-5 if one else 5 for one in late],
        }

    def restyle(self) -> None:
        """Take over the colours of the session's theme."""
        theme, plot = THEMES[self.session.theme], self.figure
        plot.background_fill_color = plot.border_fill_color = theme.plot
        plot.outline_line_color = None
        plot.ygrid.grid_line_color = theme.grid
        self._envelope.glyph.fill_color = theme.envelope
        self._line.glyph.line_color = theme.line
        self._error.glyph.line_color = theme.categorical[1]
        self._rules.glyph.line_color = theme.landmark
        self._words.text_color = theme.muted
        overlay = self._box.overlay
        overlay.update(fill_color=theme.accent, line_color=theme.accent, line_width=1.5, line_dash="solid")
        for axis in (*plot.xaxis, *plot.yaxis):
            axis.axis_line_color = axis.major_tick_line_color = theme.border
            axis.minor_tick_line_color = None
            axis.major_label_text_color = axis.axis_label_text_color = theme.muted
            axis.major_label_text_font = axis.axis_label_text_font = FONT
            axis.major_label_text_font_size = axis.axis_label_text_font_size = "11px"
            axis.axis_label_text_font_style = "normal"
            axis.axis_label_standoff = 6
        self._left.axis_label_text_color = theme.line
        self._right.axis_label_text_color = theme.categorical[1]

    def __panel__(self) -> Any:
        return pn.pane.Bokeh(self.figure, sizing_mode="stretch_width", margin=0)
