"""The whole run in one strip, always visible: loss and validation error, with the window on screen as a box."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.core.properties import value
from bokeh.models import (
    BasicTickFormatter,
    ColumnDataSource,
    CustomJSHover,
    CustomJSTickFormatter,
    HoverTool,
    LinearAxis,
    LinearScale,
    LogAxis,
    Range1d,
)
from bokeh.models.annotations import LabelSet
from bokeh.plotting import figure

from deeptracker.app.compared import MOST, color_of, difference_timeline
from deeptracker.app.face_plot import hover_box
from deeptracker.app.session import Session
from deeptracker.app.theme import FONT, THEMES
from deeptracker.app.timelines import EMPTY, Timeline, is_logarithmic, limits, training_timeline, validation_timeline
from deeptracker.app.window_box import WindowBox
from deeptracker.data_model.errors import QueryError

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

HEIGHT = 112

# Short iteration numbers (12.5k, 1.2M), exact where the axis shows single iterations.
ITERATION_TICKS = """
const big = Math.abs(tick) >= 1e6 ? [1e6, "M"] : Math.abs(tick) >= 1e4 ? [1e3, "k"] : [1, ""];
return Number((tick / big[0]).toPrecision(6)).toString() + big[1];
"""

LATE = 0.85
"""Share of the run after which a label stands left of its line, where it has room."""
MOST_LABELS = 6
"""Landmarks that are labelled; more would overlap, and still answer to the mouse."""
# A click leaves no frame behind; moving there by keyboard shows one.
FOCUS = ":host(:focus:not(:focus-visible)) { outline: none; }"
READABLE = "return value == null || isNaN(value) ? 'none' : Number(value.toPrecision(4)).toString();"


def brief(labels: list[str]) -> list[str]:
    """Return labels such as `learning rate 0.1 → 0.01` without the value before, and naming what it is only once."""
    shown, before = [], ""
    for label in labels:
        what, arrow, now = label.partition("→")
        subject = what.rstrip().rpartition(" ")[0] if arrow else label
        shown.append(f"→{now}" if arrow and subject == before else f"{subject} →{now}" if arrow else label)
        before = subject
    return shown


class Overview:
    """The strip: a Bokeh figure over the whole run whose box is the session's shared iteration range.

    Drag the box or its edges, drag beside it for a new one, wheel to zoom, double-click for the whole run.
    """

    def __init__(self, session: Session, window: WindowBox) -> None:
        self.session, self._window = session, window
        self.difference = self._wants_difference
        training = training_timeline(session.run)
        self._logarithmic = is_logarithmic(training) and not self.difference
        self._training: Any = ColumnDataSource()
        self._validation: Any = ColumnDataSource()
        self._marks: Any = ColumnDataSource({"x": [], "label": []})
        self._labelled: Any = ColumnDataSource({"x": [], "label": [], "align": [], "offset": []})
        first, stop = session.axes.whole
        self._labels = {"training": training.label, "validation": "validation error"}
        self._others: list[Any] = [ColumnDataSource({"x": [], "low": [], "high": [], "mean": []}) for _ in range(MOST)]
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
            stylesheets=[FOCUS],
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
        self._spreads = [plot.varea("x", "low", "high", source=other, level="underlay") for other in self._others]
        self._lines = [plot.line("x", "mean", source=other, line_width=1.4) for other in self._others]
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
        if self.difference:
            self._left.axis_label = f"Δ {self._labels['training']}"
        plot.xaxis.formatter = CustomJSTickFormatter(code=ITERATION_TICKS)
        self._right.ticker.desired_num_ticks = 3
        self._left.ticker.desired_num_ticks = 3
        self._right.formatter = BasicTickFormatter(use_scientific=False)
        plot.xgrid.visible = False

    def _interact(self) -> None:
        plot = self.figure
        self._drawing = self._window.attach(plot)
        readable = CustomJSHover(code=READABLE)
        formatters: dict[str, Any] = {"@mean": readable, "@low": readable, "@high": readable}
        line = HoverTool(renderers=[self._line], mode="vline", attachment="vertical", formatters=formatters)
        rules = HoverTool(renderers=[self._rules], attachment="vertical")
        said = escape(self._labels["training"]) + " @mean{custom}, @low{custom} to @high{custom}"
        self._hovers = [(line, said), (rules, "@label")]
        plot.add_tools(line, rules)

    @property
    def _wants_difference(self) -> bool:
        selection = self.session.selection
        return bool(selection.difference and selection.runs)

    def outgrown(self) -> bool:
        """Whether another kind of axis is asked for than the strip was made with: by the loss, or by a difference."""
        if self._wants_difference != self.difference:
            return True
        training = training_timeline(self.session.run)
        logarithmic = is_logarithmic(training) and not self.difference
        return logarithmic != self._logarithmic or training.label != self._labels["training"]

    def update(self) -> None:
        """Take over what the run has now."""
        run, axes = self.session.run, self.session.axes
        training, validation = training_timeline(run), validation_timeline(run)
        first, stop = axes.whole
        self.figure.x_range.update(start=first, end=stop)
        if self.difference:  # of the run from itself: a line at zero
            training = Timeline(training.label, *(np.array([first, stop]), *(np.zeros(2),) * 3))
        shown = [training, *self._draw_others()]
        ends = [limits(one, self._logarithmic) for one in shown if one.x.size] or [limits(training, self._logarithmic)]
        self.figure.y_range.update(start=min(low for low, _ in ends), end=max(high for _, high in ends))
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
            "label": brief([mark.label for mark in labelled]),
            "align": ["right" if one else "left" for one in late],
            "offset": [-5 if one else 5 for one in late],
        }

    def _draw_others(self) -> list[Timeline]:
        """Draw the runs laid over this one, and return what is drawn of them."""
        shown = []
        for number, source in enumerate(self._others):
            others = self.session.compared.others
            other = others[number] if number < len(others) else None
            drawn = self._timeline_of(other.run) if other is not None and other.run is not None else EMPTY
            source.data = drawn.columns()
            shown.append(drawn)
        return shown

    def _timeline_of(self, other: Run) -> Timeline:
        if not self.difference:
            return training_timeline(other).positive() if self._logarithmic else training_timeline(other)
        try:
            return difference_timeline(self.session.run, other)
        except QueryError:  # they have nothing in common
            return EMPTY

    def restyle(self) -> None:
        """Take over the colours of the session's theme."""
        theme, plot = THEMES[self.session.theme], self.figure
        plot.background_fill_color = plot.border_fill_color = theme.plot
        plot.outline_line_color = None
        plot.ygrid.grid_line_color = theme.grid
        self._envelope.glyph.fill_color = theme.envelope
        self._line.glyph.line_color = theme.line
        for number, (spread, line) in enumerate(zip(self._spreads, self._lines, strict=True)):
            spread.glyph.update(fill_color=color_of(theme, number), fill_alpha=0.18)
            line.glyph.line_color = color_of(theme, number)
        self._error.glyph.line_color = theme.categorical[1]
        self._rules.glyph.line_color = theme.landmark
        self._words.text_color = theme.muted
        self._window.restyle(self._drawing, theme)
        for hover, said in self._hovers:
            hover.tooltips = hover_box(f"<b>iteration @x{{0,0}}</b><br>{said}", theme)
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
