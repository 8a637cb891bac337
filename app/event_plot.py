"""What happened to the images from validation to validation: four events as shares, and outliers among the flips."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
from bokeh.models import BasicTicker, ColumnDataSource, CustomJSTickFormatter, FixedTicker, Range1d

from deeptracker.app.event_counts import event_shares, outlier_counts
from deeptracker.app.plain_plot import dress, hover, over_iterations, plain_figure, say
from deeptracker.app.views.base import View
from deeptracker.data_model.vocabulary import EVENTS

BUCKETS, BINS = 900, 180
AXIS = 58
STACK = (
    ("y-y", "right", "stayed right"),
    ("n-y", "learned", "learned"),
    ("y-n", "forgotten", "forgotten"),
    ("n-n", "wrong", "stayed wrong"),
)
"""The events from the bottom up, the colour of each and its words: what flipped lies between right and wrong."""
BOXES = ("left", "right", "top", "bottom", "last", "color", "what")
SHARED, COUNTED = (*BOXES, "share", "images"), (*BOXES, "count")
"""Columns of the boxes drawn: `last` is the last iteration in a box, the others are said on hover."""
KEYS = """
.keys { padding: 4px 0 0 12px; font-size: 11.5px; line-height: 1.5; color: var(--dt-muted); }
.keys b { display: block; color: var(--dt-text); font-weight: 600; }
.keys i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px;
  outline: 1px solid var(--dt-border); vertical-align: -1px; }
"""


class EventPlot:
    """Two figures over the shared iterations, drawn while `shown`; of the height given in pixels."""

    def __init__(self, view: View, gutter_width: int, height: int) -> None:
        self.view, self.shown = view, False
        iterations = view.session.axes.iterations
        whole = Range1d(start=0, end=1, bounds=(0, 1))
        self.shares = plain_figure("event shares", iterations, whole, left=AXIS, y_label="share", below=6)
        self.counts = Range1d(start=-1, end=1)
        self.outliers = plain_figure("outliers", iterations, self.counts, left=AXIS, y_label="images")
        self._shares = ColumnDataSource({name: [] for name in SHARED})
        self._outliers = ColumnDataSource({name: [] for name in COUNTED})
        self._draw_glyphs()
        upper = round(height * 0.6)
        keys = "".join(
            f'<div><i style="background:var(--dt-{color})"></i>{words}</div>' for _, color, words in STACK[::-1]
        )
        flips = '<div><i style="background:var(--dt-line)"></i>\u25b2 left</div>'
        flips += '<div><i style="background:var(--dt-anomaly)"></i>\u25bc right</div>'
        self.layout = pn.Column(
            self._row(f"<b>Images</b>{keys}", self.shares, gutter_width, upper),
            self._row(f"<b>Outlier flips</b>{flips}", self.outliers, gutter_width, height - upper),
            sizing_mode="stretch_width",
            height=height,
            margin=0,
            visible=False,
            css_classes=["events"],
        )
        session = view.session
        view.watch(session.selection, lambda event: self.draw(), "window")
        view.watch(session.run, lambda event: self.draw(), "version")
        view.watch(session.search, lambda event: self.draw(), "version")
        view.watch(session, lambda event: self._restyle(), "theme")
        self._restyle()

    def _row(self, keys: str, figure: Any, gutter_width: int, height: int) -> pn.Row:
        words = pn.pane.HTML(
            f'<div class="keys">{keys}</div>', stylesheets=[KEYS], width=gutter_width - AXIS, height=height, margin=0
        )
        plot = pn.pane.Bokeh(figure, sizing_mode="stretch_width", height=height, margin=0)
        return pn.Row(words, plot, sizing_mode="stretch_width", height=height, margin=0)

    def _draw_glyphs(self) -> None:
        # A line around each box leaves no seams, and a share of a thousandth visible.
        colors = {"fill_color": "color", "line_color": "color", "line_width": 1}
        stack = self.shares.quad("left", "right", "top", "bottom", source=self._shares, **colors)
        bars = self.outliers.quad("left", "right", "top", "bottom", source=self._outliers, **colors)
        self.shares.xaxis[0].visible = False
        self.shares.yaxis[0].ticker = FixedTicker(ticks=[0, 0.5, 1], minor_ticks=[])
        self.shares.ygrid[0].visible = False
        self.outliers.yaxis[0].ticker = BasicTicker(desired_num_ticks=3, num_minor_ticks=0, min_interval=1)
        self.outliers.yaxis[0].formatter = CustomJSTickFormatter(code="return String(Math.abs(tick));")
        for figure in (self.shares, self.outliers):
            over_iterations(figure)
        when = ("iterations", "@left{0,0} to @last{0,0}")
        self._hovers = [
            (hover(self.shares, [stack]), [when, ("@what", "@share{0.00%} of @images{0,0} answers")]),
            (hover(self.outliers, [bars]), [when, ("@what", "@count{0,0} images")]),
        ]

    def show(self, shown: bool) -> None:
        """Show or hide it; what is hidden is not drawn."""
        self.shown = self.layout.visible = shown
        self.draw()

    def draw(self) -> None:
        """Draw what is on screen."""
        if self.shown:
            self._draw_shares()
            self._draw_outliers()

    def _restyle(self) -> None:
        theme = self.view.session.colors
        for figure in (self.shares, self.outliers):
            dress(figure, theme)
        for tool, rows in self._hovers:
            say(tool, rows, theme)
        self.draw()

    def _draw_shares(self) -> None:
        session = self.view.session
        found = event_shares(session.run, session.window, BUCKETS)
        bottom = np.zeros(len(found.start))
        columns: dict[str, Any] = {name: [] for name in SHARED}
        for event, color, words in STACK:
            share = np.nan_to_num(found.share[EVENTS.index(event)])
            top, some = bottom + share, np.flatnonzero(share)
            columns["left"] += found.start[some].tolist()
            columns["right"] += found.stop[some].tolist()
            columns["last"] += (found.stop - 1)[some].tolist()
            columns["bottom"] += bottom[some].tolist()
            columns["top"] += top[some].tolist()
            columns["share"] += share[some].tolist()
            columns["images"] += found.images[some].tolist()
            columns["color"] += [getattr(session.colors, color)] * len(some)
            columns["what"] += [f"{words} ({event})"] * len(some)
            bottom = top
        self._shares.data = columns

    def _draw_outliers(self) -> None:
        session = self.view.session
        first, stop = session.window
        edges = np.unique(np.linspace(first, stop, min(BINS, stop - first) + 1).astype(np.int64))
        found = outlier_counts(session.anomalies(), edges)
        highest = max(1, *(int(counts.max(initial=0)) for counts in found.values()))
        self.counts.update(start=-1.1 * highest, end=1.1 * highest)
        columns: dict[str, Any] = {name: [] for name in COUNTED}
        for side, sign in (("left", 1), ("right", -1)):
            at = np.flatnonzero(found[side])
            height = sign * found[side][at]
            columns["left"] += edges[at].tolist()
            columns["right"] += edges[at + 1].tolist()
            columns["last"] += (edges[at + 1] - 1).tolist()
            columns["bottom"] += np.minimum(height, 0).tolist()
            columns["top"] += np.maximum(height, 0).tolist()
            columns["count"] += found[side][at].tolist()
            columns["color"] += [session.colors.line if sign > 0 else session.colors.anomaly] * len(at)
            columns["what"] += [f"{side}: flips {'after' if sign > 0 else 'into'} a stable stretch"] * len(at)
        self._outliers.data = columns
