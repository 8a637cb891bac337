"""The pixel chart of the images of some classes: a row per image, a column per validation, right, wrong or flipped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import panel as pn

from deeptracker.app.data_map_plot import DataMapPlot
from deeptracker.app.image_detail import ImageDetail
from deeptracker.app.kernels import as_png
from deeptracker.app.run_walls import TiedWall, bar, choice, close_button, select, words
from deeptracker.app.views.base import View
from deeptracker.app.wall import layout
from deeptracker.app.wall.order import by_history
from deeptracker.app.wall.plot import Wall
from deeptracker.app.wall.run_source import ImageSource

SHOWN = {"Over time": "time", "Data map": "map"}
SHOWN_HELP = "A row per image over all validations, or a dot per image: how sure, and how changeable"
ORDERS = {"Learned first": "history", "Most changes": "changes", "By number": "number"}
LEGEND = """
.legend { display: flex; gap: 12px; font-size: 12px; color: var(--dt-muted); white-space: nowrap; overflow: hidden;
  align-items: center; }
.legend b { color: var(--dt-text); font-weight: 600; flex: none; max-width: 14em; overflow: hidden;
  text-overflow: ellipsis; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px;
  outline: 1px solid var(--dt-border); vertical-align: -1px; }
"""

LEAST, LEAST_DETAIL = 150, 150
"""Pixels of the panel at least, and more where an image is picked."""
STACKED = """
:host { flex-direction: column !important; }
:host > .image-detail { flex: 0 0 auto !important; height: 192px !important; }
"""
BESIDE = """
:host { flex-direction: row !important; }
:host > .data-map { flex: 1 1 45% !important; width: auto !important; min-width: 260px; }
:host > .image-detail { flex: 1 1 55% !important; width: auto !important; height: 100% !important; min-width: 0; }
"""


class ImagePanel:
    """Shows the images of the classes picked; hidden while none is. Reads and writes the selection's images."""

    def __init__(self, view: View, gutter_width: int) -> None:
        self.view = view
        session = view.session
        self.classes: list[str] = []
        self._count = 0
        self._ids = self._read_ids()
        self._order = select(ORDERS, "history", "Order", 145)
        self._shown = choice(SHOWN, "time", SHOWN_HELP, "images-as")
        self._words = words()
        self._words.stylesheets = [LEGEND]
        self.detail = ImageDetail(view, gutter_width)
        self.map = DataMapPlot(view.guarded(self._toggle))
        self.map.restyle(session.colors)
        self._mapped: tuple[tuple[str, ...], int] | None = None
        self.wall = Wall(
            ImageSource(session.run),
            [],
            session.axes.iterations,
            gutter_width=gutter_width,
            with_ruler=False,
            theme=session.theme,
        )
        self.wall.on_select, self.wall.describe = view.guarded(self._picked), self._thumbnail
        self._tied = TiedWall(view, self.wall, "image", self._ids)
        close = close_button("Close the images", lambda: setattr(session.selection, "classes", []))
        view.watch(self._shown, lambda event: self._switch(), "value")
        view.watch(session, lambda event: self.map.restyle(session.colors), "theme")
        view.watch(self._order, lambda event: self._arrange(), "value")
        view.watch(session.selection, lambda event: self._follow(), "images")
        view.watch(session.run, lambda event: self._grow(), "version")
        self._time = pn.Column(self.wall, sizing_mode="stretch_both", margin=0)
        self._body = pn.Column(
            self._time,
            self.map.layout,
            self.detail.layout,
            sizing_mode="stretch_both",
            margin=0,
            stylesheets=[STACKED],
        )
        self.layout = pn.Column(
            bar(self._words, self._shown, self._order, close),
            self._body,
            sizing_mode="stretch_both",
            margin=0,
            visible=False,
            min_height=LEAST,
        )

    def show(self, classes: Sequence[str]) -> None:
        """Show the images of the classes; none: nothing."""
        if list(classes) != self.classes:
            self.classes = list(classes)
            self._arrange()
            self._draw_map()
            self._follow()
        self.layout.visible = bool(classes)

    def _read_ids(self) -> list[str]:
        return [str(name) for name in self.view.session.run.images["id"].values]

    def _grow(self) -> None:
        ids = self._read_ids()
        if ids != self._ids:
            self._ids = ids
            self._tied.rename("image", ids)
            self._arrange()
        self._draw_map()

    def _switch(self) -> None:
        """Show the images over time or on the data map."""
        mapped = self._shown.value == "map"
        self._time.visible, self._order.visible, self.map.layout.visible = not mapped, not mapped, mapped
        # The map wants to be nearly square: it stands beside the picked image, not above it.
        self._body.stylesheets = [BESIDE if mapped else STACKED]
        self._draw_map()
        self._words.object = self._legend(self._count)

    def _draw_map(self) -> None:
        """Draw the map where it is on screen and something is new."""
        state = (tuple(self.classes), self.view.session.run.version)
        if self._shown.value == "map" and self._mapped != state:
            run = self.view.session.run
            chosen = [int(image) for name in self.classes for image in run.images_of(name)]
            self.map.draw(run.image_insight(images=chosen))
            self.map.pick(self.wall.selected)
            self._mapped = state

    def _arrange(self) -> None:
        if not self.classes:
            self.wall.rearrange([])
            return
        groups: list[layout.Group | layout.Leaf] = []
        count = 0
        for name in self.classes:
            rows = self._rows(name)
            count += len(rows)
            groups += [layout.Group(name, name, tuple(rows))] if len(self.classes) > 1 else rows
        self.wall.rearrange(groups)
        self._count = count
        self._words.object = self._legend(count)

    def _rows(self, name: str) -> list[layout.Leaf]:
        run = self.view.session.run
        images = run.images_of(name)
        rows = [layout.Leaf(int(image), self._ids[image]) for image in images]
        if self._order.value == "number" or not rows:
            return rows
        states = ImageSource(run).states(images.astype(np.int32)).state
        changes = ((states != 255) & (states & 2 == 2)).sum(axis=1).astype(float)
        scores = by_history(states) if self._order.value == "history" else changes
        by_image = dict(zip(images.tolist(), scores.tolist(), strict=True))
        return layout.sort(rows, lambda image: by_image[image])

    def _legend(self, count: int) -> str:
        names = ("class " if len(self.classes) == 1 else "classes ") + ", ".join(self.classes)
        states = {state: state for state in ("right", "wrong", "learned", "forgotten")}
        if self._shown.value == "map":
            states = {"forgotten": "never right", "learned": "half of the time", "right": "always right"}
        keys = "".join(
            f'<span><i style="background:var(--dt-{state})"></i>{words}</span>' for state, words in states.items()
        )
        noun = "image" if count == 1 else "images"
        return f'<div class="legend"><b title="{escape(names)}">{escape(names)}</b>{count:,} {noun}{keys}</div>'

    def _picked(self, entities: list[int]) -> None:
        self.view.session.selection.images = [self._ids[entity] for entity in entities]

    def _toggle(self, image: int) -> None:
        """Pick the image clicked on the map, or let go of it."""
        self._picked([] if self.wall.selected == [image] else [image])

    def _follow(self) -> None:
        number = {name: index for index, name in enumerate(self._ids)}
        self.wall.selected = [number[name] for name in self.view.session.selection.images if name in number]
        self.map.pick(self.wall.selected)
        picked = self.wall.selected
        self.detail.show(picked[-1] if picked else None)
        # Panel computes the least height of a column itself, from figures that can be very low.
        least = LEAST + (LEAST_DETAIL if picked else 0)
        self.layout.stylesheets = [f":host {{ min-height: {least}px !important; }}"]

    def _thumbnail(self, image: int) -> str:
        picture = self.view.session.run.thumbnail(image)
        if picture is None:
            return ""
        source: Any = as_png(picture)
        return f'<img alt="" src="{source}" style="width:56px;height:56px;image-rendering:pixelated;border-radius:3px">'
