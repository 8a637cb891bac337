"""The pixel chart of the images of some classes: a row per image, a column per validation, right, wrong or flipped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import panel as pn

from deeptracker.app.kernels import as_png
from deeptracker.app.run_walls import TiedWall, bar, close_button, select, words
from deeptracker.app.views.base import View
from deeptracker.app.wall import layout
from deeptracker.app.wall.order import by_history
from deeptracker.app.wall.plot import Wall
from deeptracker.app.wall.run_source import ImageSource

ORDERS = {"Learned first": "history", "Most changes": "changes", "By number": "number"}
LEGEND = """
.legend { display: flex; gap: 12px; font-size: 12px; color: var(--dt-muted); white-space: nowrap; overflow: hidden;
  align-items: center; }
.legend b { color: var(--dt-text); font-weight: 600; overflow: hidden; text-overflow: ellipsis; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px;
  outline: 1px solid var(--dt-border); vertical-align: -1px; }
"""


class ImagePanel:
    """Shows the images of the classes picked; hidden while none is. Reads and writes the selection's images."""

    def __init__(self, view: View, gutter_width: int) -> None:
        self.view = view
        session = view.session
        self.classes: list[str] = []
        self._ids = self._read_ids()
        self._order = select(ORDERS, "history", "Order", 145)
        self._words = words()
        self._words.stylesheets = [LEGEND]
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
        view.watch(self._order, lambda event: self._arrange(), "value")
        view.watch(session.selection, lambda event: self._follow(), "images")
        view.watch(session.run, lambda event: self._grow(), "version")
        self.layout = pn.Column(
            bar(self._words, self._order, close),
            self.wall,
            sizing_mode="stretch_both",
            margin=0,
            visible=False,
            min_height=150,
        )

    def show(self, classes: Sequence[str]) -> None:
        """Show the images of the classes; none: nothing."""
        if list(classes) != self.classes:
            self.classes = list(classes)
            self._arrange()
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
        keys = "".join(
            f'<span><i style="background:var(--dt-{state})"></i>{state}</span>'
            for state in ("right", "wrong", "learned", "forgotten")
        )
        noun = "image" if count == 1 else "images"
        return f'<div class="legend"><b title="{escape(names)}">{escape(names)}</b>{count:,} {noun}{keys}</div>'

    def _picked(self, entities: list[int]) -> None:
        self.view.session.selection.images = [self._ids[entity] for entity in entities]

    def _follow(self) -> None:
        number = {name: index for index, name in enumerate(self._ids)}
        self.wall.selected = [number[name] for name in self.view.session.selection.images if name in number]

    def _thumbnail(self, image: int) -> str:
        picture = self.view.session.run.thumbnail(image)
        if picture is None:
            return ""
        source: Any = as_png(picture)
        return f'<img alt="" src="{source}" style="width:56px;height:56px;image-rendering:pixelated;border-radius:3px">'
