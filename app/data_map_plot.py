"""The data map of images: how sure the network was of each, and how much that varied (Swayamdipta et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import panel as pn
from bokeh.events import DoubleTap, Tap
from bokeh.models import ColumnDataSource, LinearColorMapper, PanTool, Range1d, WheelZoomTool
from bokeh.models.annotations import Label

from deeptracker.app.later import in_order
from deeptracker.app.plain_plot import dress, hover, plain_figure, say
from deeptracker.app.theme import FONT, Theme, ramp

MOST_DOTS = 20_000
"""Images drawn as dots, the least sure ones first; more would be too many for a browser to pick among."""
NEAR = 0.03
"""How far from a click, as a share of the map, an image may lie to be the one that is meant."""
PLACES: tuple[tuple[str, float, float, Literal["left", "right"]], ...] = (
    ("easy to learn", 0.0, 0.97, "left"),
    ("ambiguous", 0.545, 0.5, "right"),
    ("hard to learn", 0.0, -0.02, "left"),
)
ROOM = {"x": (-0.01, 0.56), "y": (-0.03, 1.05)}


class DataMapPlot:
    """Draws a row of `image_insight` per image; `on_pick(number)` hears of the image clicked."""

    def __init__(self, on_pick: Callable[[int], None]) -> None:
        self.on_pick = on_pick
        self.table = pd.DataFrame()
        x, y = (Range1d(start=low, end=high, bounds=(low, high)) for low, high in ROOM.values())
        self.figure = plain_figure(
            "data map",
            x,
            y,
            left=56,
            x_label="variability: standard deviation of p(true class)",
            y_label="confidence (mean)",
            below=40,
        )
        self.dots = ColumnDataSource({name: [] for name in ("x", "y", "share", "id", "class", "taken", "forgotten")})
        self.chosen = ColumnDataSource({"x": [], "y": []})
        self.mapper = LinearColorMapper(palette=["#000000"] * 8, low=0, high=1)
        self._draw_glyphs()
        pane = pn.pane.Bokeh(self.figure, sizing_mode="stretch_both", margin=0, min_height=150)
        self.layout = pn.Column(pane, sizing_mode="stretch_both", margin=0, visible=False, css_classes=["data-map"])

    def _draw_glyphs(self) -> None:
        plot = self.figure
        plot.ygrid.visible = False
        self._dots = plot.scatter(
            "x", "y", source=self.dots, size=7, fill_color={"field": "share", "transform": self.mapper}, line_width=0.6
        )
        self._chosen = plot.scatter("x", "y", source=self.chosen, size=13, fill_color=None, line_width=2.2)
        self._places = [
            Label(x=x, y=y, text=text, text_align=side, text_font_size="11px", text_font_style="italic", text_font=FONT)
            for text, x, y, side in PLACES
        ]
        for place in self._places:
            plot.add_layout(place)
        wheel, drag = WheelZoomTool(maintain_focus=False), PanTool()
        plot.add_tools(wheel, drag)
        plot.toolbar.update(active_scroll=wheel, active_drag=drag)
        self._hover = hover(plot, [self._dots])
        plot.on_event(Tap, in_order(self._tapped))
        plot.on_event(DoubleTap, in_order(lambda event: self._whole()))

    def _whole(self) -> None:
        for one, (low, high) in ((self.figure.x_range, ROOM["x"]), (self.figure.y_range, ROOM["y"])):
            one.update(start=low, end=high)

    def _tapped(self, event: Tap) -> None:
        """Pick the image nearest to a click, if there is one close by."""
        if event.x is None or event.y is None or not len(self.table):
            return
        width, height = (float(one.end) - float(one.start) for one in (self.figure.x_range, self.figure.y_range))
        across = (self.table["variability"].to_numpy() - event.x) / width
        up = (self.table["confidence"].to_numpy() - event.y) / height
        away = np.nan_to_num(np.hypot(across, up), nan=np.inf)
        if away.min() <= NEAR:
            self.on_pick(int(self.table.index[int(away.argmin())]))

    def draw(self, table: pd.DataFrame) -> None:
        """Draw the images of a table of `image_insight`; those never validated have no place."""
        self.table = table.dropna(subset=["confidence"]).sort_values("confidence")[:MOST_DOTS]
        columns = {"x": "variability", "y": "confidence", "share": "correctness", "class": "class", "id": "id"}
        found = {name: self.table[column].to_numpy() for name, column in columns.items()}
        taken = [str(one) or "no other" for one in self.table["taken_for"]]
        self.dots.data = {**found, "taken": taken, "forgotten": self.table["forgotten"].to_numpy()}

    def pick(self, images: list[int]) -> None:
        """Mark the images picked."""
        shown = self.table[self.table.index.isin(images)] if len(self.table) else self.table
        empty = not len(shown)
        self.chosen.data = {
            "x": [] if empty else shown["variability"].to_numpy(),
            "y": [] if empty else shown["confidence"].to_numpy(),
        }

    def restyle(self, theme: Theme) -> None:
        """Take over a theme's colours."""
        dress(self.figure, theme)
        self.mapper.palette = ramp((theme.forgotten, theme.learned, theme.right), 64)
        self._dots.glyph.line_color = theme.plot
        self._chosen.glyph.line_color = theme.selection
        for place in self._places:
            place.text_color = theme.muted
        words = [("image", "@id"), ("class", "@class"), ("confidence", "@y{0.00}"), ("variability", "@x{0.00}")]
        words += [("right", "@share{0%} of its validations"), ("forgotten", "@forgotten times")]
        say(self._hover, [*words, ("taken for", "@taken")], theme)
