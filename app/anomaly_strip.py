"""All anomalies at a glance: one row per rule over the iterations on screen, on the axis that all views share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import panel as pn
from bokeh.events import SelectionGeometry
from bokeh.models import Range1d
from bokeh.models.annotations import Span

from deeptracker.app.anomaly_groups import counts
from deeptracker.app.face_plot import FacePlot, NamedAxis, bin_hover, count_colors, count_hover, name_hover, shaded
from deeptracker.app.later import in_order
from deeptracker.app.theme import Theme

BINS = 240
ROW_HEIGHT = 15


class AnomalyStrip:
    """A face of rules x iterations; drag to brush iterations, wheel to zoom. `on_brush(start, stop)` hears of it."""

    def __init__(self, rules: list[str], iterations: Range1d, on_brush: Callable[[float, float], None]) -> None:
        self.rules = rules
        names = NamedAxis.of([rule.replace("_", " ") for rule in rules], -1)
        self.face = FacePlot(names, x=iterations, name="rules x iteration", colors=count_colors)
        self._lines = (
            Span(dimension="width", line_width=1, line_alpha=0.8, line_dash=[2, 2]),
            Span(dimension="height", line_width=1, line_alpha=0.8, line_dash=[2, 2]),
        )
        tooltips = [("rule", "$y{custom}"), ("iterations", "$x{custom}"), ("found", "@image{custom}")]
        source = self.face.source
        formatters = {
            "$y": name_hover(names, "y"),
            "$x": bin_hover(source),
            "@image": count_hover(source, names.sign),
        }
        self.face.tools(self._lines, tooltips, formatters)
        height = ROW_HEIGHT * len(rules) + 34
        self.face.figure.update(
            sizing_mode="stretch_width",
            height=height,
            min_border_left=names.border(),
            min_border_right=14,
            min_border_top=3,
            min_border_bottom=24,
        )
        self.face.figure.on_event(SelectionGeometry, in_order(lambda event: self._brushed(event, on_brush)))
        self.layout = pn.pane.Bokeh(
            self.face.figure, sizing_mode="stretch_width", height=height, margin=0, css_classes=["anomaly-strip"]
        )

    def _brushed(self, event: SelectionGeometry, on_brush: Callable[[float, float], None]) -> None:
        geometry = event.geometry
        if event.final and geometry is not None and geometry["type"] == "rect":
            on_brush(geometry["x0"], geometry["x1"])

    def draw(self, table: pd.DataFrame, window: tuple[int, int], brush: tuple[float, float] | None) -> None:
        """Count what begins in each of about `BINS` bins of the window."""
        width = window[1] - window[0]
        edges = np.unique(np.linspace(window[0], window[1], min(BINS, width) + 1).astype(np.int64))
        found = counts(table, self.rules, edges)
        low, height = self.face.row_place()
        self.face.set_tile(
            shaded(found.astype(np.float64), float(found.max(initial=0))),
            (window[0], low, width, height),
            counts=np.minimum(found, 65_535).astype(np.uint16),
            start=edges[:-1].astype(np.float64),
            stop=edges[1:].astype(np.float64),
        )
        self.face.show_brush(brush)

    def restyle(self, theme: Theme) -> None:
        """Take over a theme's colours."""
        self.face.restyle(theme)
        for line in self._lines:
            line.line_color = theme.muted
