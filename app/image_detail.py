"""One validation image in detail: its picture, its probability over time, and what it was taken for and when."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, FixedTicker, Range1d

from deeptracker.app.behind import picture
from deeptracker.app.image_story import answers, class_name, sentences
from deeptracker.app.plain_plot import dress, hover, over_iterations, plain_figure, say
from deeptracker.app.views.base import View

HEIGHT = 164
LOW, HIGH = -0.42, 1.18
"""Ends of the upright axis: below 0 lies the strip of answers, above 1 the marks of outliers."""
STRIP = (-0.36, -0.1)
PICTURE = """
.picture { padding: 8px 0 0 12px; }
.picture img, .picture .none { display: block; width: 88px; height: 88px; image-rendering: pixelated;
  border-radius: 5px; outline: 1px solid var(--dt-border); background: var(--dt-blank); }
"""
WORDS = """
.told { font-size: 12px; line-height: 1.4; color: var(--dt-muted); padding: 4px 12px 0; overflow-wrap: anywhere; }
.told b { color: var(--dt-text); font-weight: 600; padding-right: 4px; }
"""
AXIS = 58
"""Pixels of the upright axis, which lies in the gutter of the walls."""


class ImageDetail:
    """Shows the image picked last by `show(number)`; hidden while none is."""

    def __init__(self, view: View, gutter_width: int) -> None:
        self.view = view
        self.image: int | None = None
        self.figure = plain_figure(
            "image over time",
            view.session.axes.iterations,
            Range1d(start=LOW, end=HIGH, bounds=(LOW, HIGH)),
            left=AXIS,
            y_label="p(true class)",
        )
        self._points = ColumnDataSource({"x": [], "y": [], "color": [], "answer": [], "true": []})
        self._answers = ColumnDataSource(
            {"left": [], "right": [], "color": [], "answer": [], "label": [], "middle": [], "text": [], "count": []}
        )
        self._outliers = ColumnDataSource({"x": [], "y": [], "angle": [], "what": []})
        self._draw_glyphs()
        over_iterations(self.figure)
        self.figure.xaxis[0].ticker.desired_num_ticks = 4  # it may be narrow
        self._words = pn.pane.HTML(stylesheets=[WORDS], sizing_mode="stretch_width", margin=0)
        self._picture = pn.pane.HTML(stylesheets=[PICTURE], width=gutter_width - AXIS, margin=0)
        plot = pn.pane.Bokeh(self.figure, sizing_mode="stretch_both", min_height=HEIGHT, margin=0)
        self.layout = pn.Column(
            self._words,
            pn.Row(self._picture, plot, sizing_mode="stretch_both", min_height=HEIGHT, margin=0),
            sizing_mode="stretch_both",
            margin=0,
            visible=False,
            css_classes=["image-detail"],
        )
        view.watch(view.session, lambda event: self._draw(), "theme")
        view.watch(view.session.run, lambda event: self._draw(), "version")
        view.watch(view.session.search, lambda event: self._draw(), "version")

    def _draw_glyphs(self) -> None:
        plot = self.figure
        self._line = plot.line("x", "y", source=self._points, line_width=1)
        dots = plot.scatter("x", "y", source=self._points, size=5, fill_color="color", line_color=None)
        low, high = STRIP
        boxes = plot.quad("left", "right", high, low, source=self._answers, fill_color="color", line_color=None)
        self._labels = plot.text(
            "middle",
            (low + high) / 2,
            "label",
            source=self._answers,
            text_align="center",
            text_baseline="middle",
            text_font_size="11px",
            text_color="text",
        )
        self._marks = plot.scatter("x", "y", source=self._outliers, marker="triangle", size=9, angle="angle")
        plot.yaxis[0].ticker = FixedTicker(ticks=[0, 0.5, 1], minor_ticks=[])
        plot.ygrid[0].ticker = FixedTicker(ticks=[0, 0.5, 1])
        self._hovers = [
            (
                hover(plot, [dots], mode="mouse"),
                [("iteration", "@x{0,0}"), ("p(true class)", "@y{0.000}"), ("taken for", "@answer"), ("is", "@true")],
            ),
            (
                hover(plot, [boxes]),
                [("taken for", "@answer"), ("from", "@left{0,0}"), ("until", "@right{0,0}"), ("validations", "@count")],
            ),
            (hover(plot, [self._marks]), [("iteration", "@x{0,0}"), ("outlier", "@what")]),
        ]

    def show(self, image: int | None) -> None:
        """Show an image, by number, or nothing."""
        if image != self.image:
            self.image = image
            self._draw()
        self.layout.visible = image is not None

    def _draw(self) -> None:
        session, theme = self.view.session, self.view.session.colors
        dress(self.figure, theme)
        self._line.glyph.line_color = theme.line
        self._marks.glyph.update(fill_color=theme.anomaly, line_color=theme.plot)
        for tool, rows in self._hovers:
            say(tool, rows, theme)
        if self.image is None:
            return
        run = session.run
        results, names = run.validation_results([self.image]), run.class_names
        name = str(results.image[0])
        seen = results.seen[:, 0]
        right, predicted = results.right[seen, 0], results.predicted[seen, 0]
        true = class_name(int(results.image_class[0]), names)
        taken = [class_name(int(one), names) for one in predicted]
        self._points.data = {
            "x": results.iteration[seen],
            "y": results.probability[seen, 0],
            "color": np.where(right, theme.right, theme.forgotten).tolist(),
            "answer": taken,
            "true": [true] * len(taken),
        }
        self._draw_answers(results, names)
        table = session.anomalies()
        outliers = table[(table["kind"] == "image") & (table["entity"] == name)]
        left = (outliers["rule"] == "left_flip").to_numpy()
        self._outliers.data = {
            "x": outliers["start"].to_numpy(),
            "y": np.full(len(outliers), 1.09),
            "angle": np.where(left, np.pi / 2, -np.pi / 2),
            "what": [
                f"{'left' if one else 'right'}: a flip {'after' if one else 'into'} a stable stretch" for one in left
            ],
        }
        row = run.image_insight(images=[self.image]).iloc[0]
        self._say(name, sentences(row, true, outliers))

    def _draw_answers(self, results: Any, names: list[str]) -> None:
        """Draw the strip of what the image was taken for: the right class pale, each other one in a colour."""
        theme, found = self.view.session.colors, answers(results)
        colors = theme.categorical
        shown = [class_name(int(one), names) for one in found.predicted]
        fills = [
            theme.blank if right else colors[int(one) % len(colors)]
            for one, right in zip(found.predicted, found.right, strict=True)
        ]
        # A label needs room: only stretches that are a share of the run have one.
        whole = self.view.session.axes.whole
        wide = (found.stop - found.start) * 24 > whole[1] - whole[0]
        self._answers.data = {
            "left": found.start,
            "right": found.stop,
            "middle": (found.start + found.stop) / 2,
            "color": fills,
            "answer": shown,
            "label": [word if room else "" for word, room in zip(shown, wide, strict=True)],
            "text": [theme.text if right else theme.plot for right in found.right],
            "count": found.count,
        }

    def _say(self, name: str, told: list[str]) -> None:
        assert self.image is not None
        source = picture(self.view.session.run.thumbnail(self.image))
        shown = f'<img alt="image {escape(name)}" src="{source}">' if source else '<span class="none"></span>'
        self._picture.object = f'<div class="picture">{shown}</div>'
        self._words.object = f'<div class="told"><b>{escape(name)}</b> {escape(" ".join(told))}</div>'
