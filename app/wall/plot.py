"""The wall: rows x iterations as one picture that follows zoom, pan, fold, theme and new data.

It knows nothing of runs, selections or other views: data come from a source, and what the user does goes out through
`on_select`, `on_brush` and the shared iteration range.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import panel as pn
import param
from bokeh.events import DoubleTap, SelectionGeometry, Tap
from bokeh.models import Range1d

from deeptracker.app.later import in_order
from deeptracker.app.theme import FONT, TEXT_SIZES, THEMES
from deeptracker.app.wall import frame, gutter, hover, layout, paint, picking
from deeptracker.app.wall.compose import Picture, Viewport, warm_in_background
from deeptracker.app.wall.feed import Feed, Rows
from deeptracker.app.wall.keys import Keys, group_of
from deeptracker.app.wall.pacing import Pacer
from deeptracker.app.wall.palette import state_palette, value_palette
from deeptracker.app.wall.row_axis import RowAxis, negated
from deeptracker.app.wall.source import Flags, StateSource, WallSource

MOST_PIXELS = 1_500_000
"""Pixels of a picture up to which a screen's finer pixels are used."""
SMALLEST_MARK = 5.0
"""CSS pixels of an anomaly's mark below which it would hide more than it shows."""
_numbers = count(1)


@dataclass(frozen=True)
class Mark:
    """A place of note on one row: the entity, and the iterations [start, stop)."""

    entity: int
    start: int
    stop: int


@dataclass(frozen=True)
class Drawn:
    """What the last picture shows: for tests, and for a look into a running app."""

    view: Viewport
    picture: Picture
    seconds: float


class Wall(pn.viewable.Viewer):
    """One plot of many rows over the iterations of `x_range`, which other plots may share.

    `on_select(entities)` hears of clicks on rows, `on_brush(span or None)` of brushing along the ruler,
    `describe(entity)` may add trusted markup (a thumbnail) to the readout of an entity, `on_error(error)` hears of
    what went wrong while reading or drawing.
    """

    folded: param.List[list[str]] = param.List(default=[], item_type=str, doc="Keys of the folded groups.")
    selected: param.List[list[int]] = param.List(default=[], item_type=int, doc="Selected entities, as picked.")
    common = param.Boolean(default=False, doc="Whether all rows share one scale of values.")
    logarithmic = param.Boolean(default=False, doc="Whether values are drawn on a logarithmic scale.")
    logarithmic_entities: param.List[list[int]] = param.List(
        default=[], item_type=int, doc="Entities drawn on a logarithmic scale though the others are not."
    )
    unit = param.String(default="", doc="Unit of the values, for the readout.")
    theme: param.Selector[str] = param.Selector(default="light", objects=sorted(THEMES), doc="Colours of the plot.")
    brush = param.Range(default=None, allow_None=True, doc="Iterations [start, stop) marked as brushed.")
    landmarks: param.List[list[Any]] = param.List(default=[], item_type=tuple, doc="(iteration, label) pairs.")
    marks: param.List[list[Mark]] = param.List(default=[], item_type=Mark, doc="Places of note on rows.")
    gutter_width = param.Integer(default=190, bounds=(60, 600), constant=True, doc="CSS pixels of the gutter.")
    with_ruler = param.Boolean(default=True, constant=True, doc="Whether the iteration axis stands above the rows.")

    def __init__(self, source: WallSource, tree: layout.Tree, x_range: Range1d, **params: Any) -> None:
        super().__init__(**{"name": f"wall-{next(_numbers)}", **params})
        warm_in_background()
        self.key = str(self.name)
        self.redraws = 0
        self.drawn: Drawn | None = None
        self.on_select: Callable[[list[int]], None] | None = None
        self.on_brush: Callable[[tuple[int, int] | None], None] | None = None
        self.describe: Callable[[int], str] | None = None
        self.feed, self.tree = Feed(source), tree
        self.layout = layout.arrange(tree, frozenset(self.folded))
        self.x_range, self.axis = x_range, RowAxis()
        self.face = frame.face(self.key, x_range, self.axis.y)
        self.ruler = frame.ruler(x_range)
        self.gutter = gutter.gutter(self.axis.y, self.gutter_width)
        frame.aim_wheels(self.face, self.gutter.figure)
        self.hover = hover.Hover(self.key, self.face)
        self.keys = Keys(self.key, self.face, self.hover, self._act)
        self.on_error: Callable[[Exception], None] | None = None
        self.pacer = Pacer(in_order(self._guarded_draw), self._timers)
        self._corner = pn.pane.HTML("iteration", width=self.gutter_width - frame.LEFT_OVERHANG, margin=(6, 0))
        self._size = (0, 0)
        self._shown: tuple[Viewport, np.ndarray] | None = None
        self._gutter_key: Any = None
        self._listen()
        self._lay_out()
        self._restyle()
        self._annotate()

    def reread(self, source: WallSource) -> None:
        """Show the same rows of another source, without moving anything."""
        self.feed = Feed(source)
        self.pacer.request()

    def rearrange(self, tree: layout.Tree) -> None:
        """Show the same source's rows in another order or choice, from the top."""
        self.tree = tree
        self._lay_out()

    def refresh(self) -> None:
        """The source has something new: draw it without moving anything."""
        self.feed.forget()
        self.pacer.request()

    def close(self) -> None:
        """Let go of the shared range."""
        self.pacer.stop()
        for end in ("start", "end"):
            self.x_range.remove_on_change(end, self._moved)

    @property
    def rows(self) -> int:
        """Number of rows of the layout."""
        return len(self.layout.rows)

    def __panel__(self) -> Any:
        stretch: dict[str, Any] = {"margin": 0, "sizing_mode": "stretch_both"}
        sides = [
            pn.pane.Bokeh(self.gutter.figure, margin=0, sizing_mode="stretch_height", width=self.gutter_width),
            pn.pane.Bokeh(self.face.figure, **stretch),
        ]
        rows = pn.Row(*sides, **stretch)
        if not self.with_ruler:
            return pn.Column(rows, min_height=60, css_classes=["wall", self.key], **stretch)
        ruler = pn.pane.Bokeh(self.ruler.figure, margin=0, sizing_mode="stretch_width", height=frame.RULER_HEIGHT)
        top = pn.Row(self._corner, ruler, margin=0, sizing_mode="stretch_width", height=frame.RULER_HEIGHT)
        return pn.Column(top, rows, min_height=100, css_classes=["wall", self.key], **stretch)

    def _listen(self) -> None:
        for end in ("start", "end"):
            self.x_range.on_change(end, self._moved)
            self.axis.y.on_change(end, self._moved)
        for side in ("inner_width", "inner_height"):
            self.face.figure.on_change(side, self._resized)
        self.face.report.on_change("data", self._acknowledged)
        self.face.figure.on_event(Tap, in_order(lambda event: self._pick(-event.y, event.modifiers or {})))
        self.gutter.figure.on_event(Tap, in_order(self._tapped_gutter))
        self.ruler.figure.on_event(SelectionGeometry, in_order(self._brushed))
        self.ruler.figure.on_event(DoubleTap, in_order(lambda event: self._brush(None)))
        self.hover.pointer.on_change("data", self._pointed)
        self.param.watch(lambda event: self._lay_out(keep=True), ["folded"])
        self.param.watch(
            lambda *events: self.pacer.request(), ["selected", "common", "logarithmic", "logarithmic_entities"]
        )
        self.param.watch(lambda event: self._restyle(), ["theme"])
        self.param.watch(lambda *events: self._annotate(), ["brush", "landmarks", "marks"])

    def _lay_out(self, keep: bool = False) -> None:
        """Arrange the rows; with `keep` what is on screen stays as far as it can."""
        everything = self.axis.everything
        self.layout = layout.arrange(self.tree, frozenset(self.folded))
        self.feed.forget()
        self.hover.rows.tags = [self.rows]
        self._gutter_key = None
        self.axis.fit(self.rows, self._size[1], everything or not keep)
        self._place_marks()
        self.pacer.request()

    # ---- drawing

    def _timers(self) -> Any:
        document = self.face.figure.document
        return document if document is not None and document.session_context is not None else None

    def _moved(self, attr: str, old: Any, new: Any) -> None:
        self.pacer.request()

    def _resized(self, attr: str, old: Any, new: Any) -> None:
        # The two sides come one after the other; before the first report they have no value to read.
        width, height = self._size
        self._size = (int(new or 0), height) if attr == "inner_width" else (width, int(new or 0))
        self.axis.fit(self.rows, self._size[1], self.axis.everything)
        self.pacer.request()

    def _acknowledged(self, attr: str, old: Any, new: Any) -> None:
        self.pacer.acknowledge()

    def view(self) -> Viewport | None:
        """Return what is on screen, or None before the browser has laid it out."""
        width, height = self._size
        last, first = (-end for end in negated(self.x_range))
        top, bottom = self.axis.ends
        if width < 2 or height < 2 or not (last > first and bottom > top):
            return None
        ratio = float(self.face.report.data["ratio"][0])
        unit = max(1.0, min(ratio, 2.0, math.sqrt(MOST_PIXELS / (width * height))))
        return Viewport(first, last, top, bottom, round(width * unit), round(height * unit), unit)

    def _guarded_draw(self) -> bool:
        try:
            return self._draw()
        except Exception as error:
            # A picture drawn by a timer has no caller to hear of it.
            if self.on_error is None:
                raise
            self.on_error(error)
            return False

    def _draw(self) -> bool:
        """Send the picture of what is on screen; return whether there was one to send."""
        view = self.view()
        if view is None:
            return False
        began = time.perf_counter()
        logarithmic = (self.logarithmic, frozenset(self.logarithmic_entities))
        rows = Rows(self.layout, self._selected_rows(), self.common, *logarithmic)
        picture = self.feed.picture(rows, view)
        self._draw_gutter(view, picture)
        same = self._shown is not None and self._shown[0] == view and np.array_equal(self._shown[1], picture.image)
        if not same:
            self.redraws += 1
            self._shown = (view, picture.image)
            place = (view.first, view.last, view.top, view.bottom)
            self.face.tile.data = frame.tile_data(picture.image, self.redraws, *place)
            size = min(9.0, 0.6 * view.row_height / view.unit)
            self.face.mark_glyph.glyph.size = size if size >= SMALLEST_MARK else 0
        self.drawn = Drawn(view, picture, time.perf_counter() - began)
        return not same

    def _selected_rows(self) -> Flags:
        chosen = set(self.selected)
        return np.array([not chosen.isdisjoint(row.entities) for row in self.layout.rows], np.bool_)

    def _draw_gutter(self, view: Viewport, picture: Picture) -> None:
        scales: dict[int, tuple[float, float]] = {}
        if view.row_height / view.unit >= gutter.SCALES_FROM and picture.level == paint.ENVELOPE:
            for position, (low, high) in enumerate(picture.scales.tolist()):
                if not math.isnan(low):
                    scales[picture.first_row + position] = (low, high)
        place = (view.top, view.bottom, self._size[1], self.gutter_width)
        key = (place, self.theme, tuple(self.selected), tuple(scales.items()))
        if key == self._gutter_key:
            return  # zooming iterations sends nothing here
        self._gutter_key = key
        found = gutter.contents(self.layout, *place, THEMES[self.theme], frozenset(self.selected), scales)
        self.gutter.show(found)

    # ---- colours and annotations

    def _restyle(self) -> None:
        theme = THEMES[self.theme]
        states = isinstance(self.feed.source, StateSource)
        self.face.palette.tags = list((state_palette if states else value_palette)(self.theme))
        frame.restyle_face(self.face, theme)
        frame.restyle_ruler(self.ruler, theme)
        self.gutter.figure.update(background_fill_color=theme.surface, border_fill_color=theme.surface)
        self.hover.say("", theme)
        self._corner.styles = {"color": theme.muted, "font": f"{TEXT_SIZES['small']} {FONT}", "text-align": "right"}
        view = self.view()
        if view is not None and self.drawn is not None:
            self._draw_gutter(view, self.drawn.picture)

    def _annotate(self) -> None:
        for box in (self.face.brush, self.ruler.brush):
            if self.brush is None:
                box.visible = False
            else:
                box.update(left=self.brush[0], right=self.brush[1], visible=True)
        data: Any = {"x": [at for at, _ in self.landmarks], "label": [label for _, label in self.landmarks]}
        self.face.landmarks.data, self.ruler.landmarks.data = data, dict(data)
        self._place_marks()

    def _place_marks(self) -> None:
        rows = self.layout.row_of()
        known = [mark for mark in self.marks if mark.entity in rows]
        self.face.marks.data = {
            "x": [(mark.start + mark.stop - 1) / 2 for mark in known],
            "y": [-(rows[mark.entity] + 0.12) for mark in known],
        }

    # ---- what the user does

    def _pick(self, place: float, modifiers: dict[str, bool]) -> None:
        row = math.floor(place)
        if 0 <= row < self.rows:
            adding = any(modifiers.get(key) for key in ("ctrl", "shift", "meta"))
            self.selected = picking.picked(self.selected, self.layout.rows[row].entities, adding)
            if self.on_select is not None:
                self.on_select(list(self.selected))

    def _act(self, kind: str, row: int, adding: bool) -> None:
        """Do what a key asks for."""
        if kind == "pick":
            self._pick(row + 0.5, {"ctrl": adding})
        elif kind == "fold":
            group = group_of(self.layout, row)
            if group is not None:
                self.folded = picking.toggled(self.folded, group)
        elif kind == "close" and self.selected:
            self.selected = []
            if self.on_select is not None:
                self.on_select([])

    def _tapped_gutter(self, event: Any) -> None:
        key = gutter.group_at(self.layout, event.x, -event.y)
        if key is None:
            self._pick(-event.y, event.modifiers or {})
        else:
            self.folded = picking.toggled(self.folded, key)

    def _brushed(self, event: Any) -> None:
        if event.final:
            self._brush(picking.whole_iterations(event.geometry["x0"], event.geometry["x1"]))

    def _brush(self, span: tuple[int, int] | None) -> None:
        self.brush = span
        if self.on_brush is not None:
            self.on_brush(span)

    def _pointed(self, attr: str, old: Any, new: Any) -> None:
        row, iteration = int(new["row"][0]), float(new["x"][0])
        self.hover.say(self.readout(row, iteration), THEMES[self.theme])

    def readout(self, row: int, iteration: float) -> str:
        """Return what is at a row and an iteration, as HTML; empty where there is nothing."""
        if not 0 <= row < self.rows:
            return ""
        lines = hover.lines(self.feed, row, iteration, self.unit)
        place = self.layout.rows[row]
        extra = self.describe(place.entities[0]) if self.describe is not None and place.group is None else ""
        return hover.as_html(self.layout.name(row), lines, extra) if lines else ""
