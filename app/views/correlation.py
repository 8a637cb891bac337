"""The correlation view: the cube of iteration x class x layer, unfolded into linked faces or folded up."""

from __future__ import annotations

from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui
import xarray as xr

from deeptracker.app.behind import Behind, Pictures
from deeptracker.app.behind_words import about_pair, about_row, overview
from deeptracker.app.correlation_model import bin_at
from deeptracker.app.cube import Cube
from deeptracker.app.notices import notice
from deeptracker.app.run_walls import choice
from deeptracker.app.unfolded import Unfolded
from deeptracker.app.views.base import View
from deeptracker.data_model.cube import IMAGE_RULES, EventCube, Faces, cube_of_table

MOST_BINS = 300
STATUS = """
.status { font-size: 12px; color: var(--dt-muted); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
"""
CHOICES = {"All flips": "both", "Left": "left", "Right": "right"}
SHOWN = {"Bins": "bins", "Single events": "events"}
SHOWN_HELP = "Counts between validations, or every event at its iteration and at its image or filter"
CHOICES_HELP = "Which flips count as anomalous images: after a stable stretch (left), into one (right), or both"


class Correlation(View):
    """Three faces that share their axes, and what is behind a cell; reads and writes the selection only."""

    title: ClassVar[str] = "Correlation"
    description: ClassVar[str] = "Which layers moved when which classes flipped"
    icon: ClassVar[str] = "view_in_ar"
    order: ClassVar[int] = 30

    def build(self) -> Any:
        """Return the toolbar over the unfolded (or folded) cube, or why there is none yet."""
        session = self.session
        self._unfolded: Unfolded | None = None
        self._cube: Cube | None = None
        self._pictures = Pictures(session.run)
        self._choice = choice(CHOICES, "both", CHOICES_HELP, "image-rules")
        self._as = choice(SHOWN, "bins", SHOWN_HELP, "events-as")
        self._fold = pmui.Button(
            label="Fold up", icon="view_in_ar", size="small", variant="text", margin=0, css_classes=["fold"]
        )
        self._whole = pmui.Button(label="Clear the brush", size="small", variant="text", margin=0, visible=False)
        self._status = pn.pane.HTML(stylesheets=[STATUS], margin=(0, 8), sizing_mode="stretch_width", align="center")
        self._behind = Behind(self.guarded(self._picked), sizing_mode="stretch_both", margin=0)
        self._content = pn.Column(sizing_mode="stretch_both", margin=0, min_height=0)
        self.watch(self._fold, lambda event: self._toggle(), "clicks")
        self.watch(self._whole, lambda event: self._brush(None), "clicks")
        self.watch(self._as, lambda event: self._redraw(), "value")
        self.watch(self._choice, lambda event: self._regather(), "value")
        self.watch(session.search, lambda event: self._regather(), "version")
        self.watch(session.run, lambda event: self._regather(), "version")
        self.watch(session.selection, lambda *events: self._redraw(), "window", "brush")
        self.watch(session.selection, lambda *events: self._repick(), "layers", "classes", "images", "filters")
        self.watch(session, lambda event: self._redraw(restyle=True), "theme")
        self._regather()
        bar = pmui.Row(
            self._choice,
            self._as,
            self._status,
            self._whole,
            self._fold,
            sizing_mode="stretch_width",
            margin=0,
            sx={"alignItems": "center", "gap": "4px", "padding": "0 8px 2px 8px", "minHeight": "34px"},
        )
        return pn.Column(bar, self._content, sizing_mode="stretch_both", margin=0)

    def _regather(self) -> None:
        """Take over what the run and the search have now; rebuild the faces where their rows have changed."""
        session = self.session
        self._events = cube_of_table(session.run, session.anomalies(), IMAGE_RULES[self._choice.value])
        reason = too_early(self._events, session.run.state)
        for control in (self._choice, self._fold):
            control.visible = reason is None
        self._as.visible = reason is None and self._cube is None
        if reason is not None:
            self._unfolded = self._cube = None
            self._whole.visible, self._status.object = False, ""
            self._content[:] = [reason]
            return
        if self._unfolded is None or not _same_rows(self._unfolded, self._events):
            self._unfolded = Unfolded(
                self._events.classes,
                self._events.layers,
                session.axes.iterations,
                self._behind,
                self.guarded(self._tapped),
                self.guarded(self._brushed),
            )
            self._cube = None
            self._as.visible = True
            self._content[:] = [self._unfolded.layout]
            self._fold.label = "Fold up"
            self._redraw(restyle=True)
        else:
            self._redraw()

    @property
    def _span(self) -> tuple[int, int]:
        """The iterations that the layer x class face is about: those brushed, else those on screen."""
        brush = self.session.selection.brush
        return (int(brush[0]), int(brush[1])) if brush is not None else self.session.window

    def _redraw(self, restyle: bool = False) -> None:
        if self._unfolded is None:
            return
        theme, window = self.session.colors, self.session.window
        if restyle:
            self._unfolded.restyle(theme)
        self._counted: Faces = self._events.faces(window, MOST_BINS)
        self._found: xr.Dataset = self._events.pairs(self._span)
        self._unfolded.draw(self._counted, window, theme, self._events if self._as.value == "events" else None)
        self._unfolded.draw_pairs(self._found, theme)
        brush = self.session.selection.brush
        self._unfolded.show_brush(brush)
        self._whole.visible = brush is not None
        self._status.object = f'<div class="status">{self._status_words()}</div>'
        if self._cube is not None:
            self._cube.draw(self._counted, self._found, theme)
        self._repick()

    def _status_words(self) -> str:
        search, bins = self.session.search, self._found.attrs["bins"]
        where = "brushed" if self.session.selection.brush is not None else "on screen"
        words = [f"{bins:,} bins between validations {where}"]
        if search.version == 0:
            words.append("searching for anomalies …")
        elif not self._counted.classes.any() and not self._counted.layers.any():
            words.append("nothing unusual found here")
        failed = [name for name in search.failures if name in (*IMAGE_RULES["both"], "filter_outlier", "search")]
        words += [f"the rule {name} failed, see Anomalies" for name in failed]
        return ", ".join(words)

    def _repick(self) -> None:
        """Show what is picked, on the faces and beside them."""
        if self._unfolded is None:
            return
        selection, events = self.session.selection, self._events
        classes = [events.classes.index(name) for name in selection.classes if name in events.classes]
        layers = [events.layers.index(name) for name in selection.layers if name in events.layers]
        self._unfolded.highlight(classes, layers)
        if self._cube is not None:
            self._cube.highlight(classes[-1:], layers[-1:])
        if classes and layers:
            content = about_pair(self._pictures, events, self._found, self._span, layers[-1], classes[-1], selection)
        elif classes or layers:
            content = about_row(self._pictures, events, self._span, (classes or layers)[-1], bool(classes), selection)
        else:
            content = overview(events, self._found)
        if content != self._behind.content:
            self._behind.content = content

    def _tapped(self, face: str, x: float, y: float) -> None:
        """Pick the row or the cell clicked; a click on what is picked already lets go of it."""
        assert self._unfolded is not None
        if self._as.value == "events" and face != "pair":
            self._pick_event(face, self._unfolded.events[face].nearest(x, y))
            return
        layer = None if face == "class" else self._unfolded.layers.place(y)
        class_ = {"class": y, "pair": x}.get(face)
        self._pick(layer, None if class_ is None else self._unfolded.classes.place(class_), face, x)

    def _pick(self, layer: int | None, class_: int | None, face: str, x: float = 0) -> None:
        selection, events = self.session.selection, self._events
        change: dict[str, Any]
        layers = [] if layer is None else [events.layers[layer]]
        classes = [] if class_ is None else [events.classes[class_]]
        if face == "pair":
            again = (selection.layers, selection.classes) == (layers, classes)
            change = {
                "layers": [] if again else layers,
                "classes": [] if again else classes,
                "images": [],
                "filters": [],
            }
        elif face == "class" and classes:
            images = [events.image_ids[one] for one in self._at(events.images, class_, x)]
            change = {"classes": classes, "images": images}
        elif face == "layer" and layers:
            change = {"layers": layers, "filters": self._at(events.filters, layer, x)}
        else:
            return
        selection.param.update(**change)

    def _pick_event(self, face: str, found: tuple[int, int, int] | None) -> None:
        """Pick the image or filter of a single event, and its row; beside all events let go of them."""
        selection, events = self.session.selection, self._events
        row, member = found[:2] if found else (None, None)
        if face == "class":
            classes = [] if row is None else [events.classes[row]]
            images = [] if member is None else [events.image_ids[member]]
            selection.param.update(classes=classes, images=images)
        else:
            layers = [] if row is None else [events.layers[row]]
            selection.param.update(layers=layers, filters=[] if member is None else [member])

    def _at(self, found: Any, row: int | None, x: float) -> list[int]:
        """Return the members of a row that were anomalous in the bin at an iteration."""
        span = bin_at(self._counted.edges, x)
        if span is None:
            return []
        inside = (found.row == row) & (found.iteration >= span[0]) & (found.iteration < span[1])
        return sorted(set(found.member[inside].tolist()))

    def _brushed(self, start: float, stop: float) -> None:
        """Brush whole bins, so that what is counted is what is marked; a brush beside all bins lets go."""
        edges = self._events.faces((int(min(start, stop)), int(max(start, stop)) + 1)).edges
        self._brush((int(edges[0]), int(edges[-1])) if len(edges) > 1 else None)

    def _brush(self, span: tuple[int, int] | None) -> None:
        self.session.selection.brush = span

    def _picked(self, kind: str, value: Any) -> None:
        """Hear what was clicked beside the faces."""
        selection, events = self.session.selection, self._events
        if kind == "pair":
            self._pick(int(value[0]), int(value[1]), "pair")
        elif kind == "image" and value in events.image_ids:
            selection.images = [] if selection.images == [value] else [value]
        elif kind == "filter":
            selection.filters = [] if selection.filters == [int(value)] else [int(value)]
        elif kind == "back":
            selection.param.update(layers=[], classes=[], images=[], filters=[])

    def _toggle(self) -> None:
        """Fold the faces up into a cube to turn, or unfold them again."""
        if self._unfolded is None:
            return
        if self._cube is None:
            self._cube = Cube(self.guarded(self._cube_tapped), sizing_mode="stretch_both", margin=0)
            self._cube.label(self._events.classes, self._events.layers)
            self._content[:] = [self._cube.beside(self._behind)]
            self._fold.label = "Unfold"
            self._as.visible = False
            self._redraw()
        else:
            self._cube = None
            self._as.visible = True
            self._content[:] = [self._unfolded.layout]
            self._fold.label = "Fold up"

    def _cube_tapped(self, face: str, layer: int | None, class_: int | None, bin_: int | None) -> None:
        edges = self._counted.edges
        x = float(edges[bin_]) if bin_ is not None and 0 <= bin_ < self._counted.bins else 0.0
        self._pick(layer, class_, face, x)


def too_early(events: EventCube, state: str) -> Any | None:
    """Return what to say where there is no cube yet, None where there is one."""
    waits = "The page shows it by itself as soon as it is there." if state == "recording" else ""
    if not events.layers:
        return notice(
            "No filters were recorded",
            "The cube sets filters against images, and this run holds no statistics of single filters. "
            "Record it with filters_every set to a number, 16 for instance.",
        )
    count = len(events.validations)
    if count < 2:
        found = "No validation has been recorded yet." if count == 0 else "One validation has been recorded so far."
        return notice(
            "Too early for the cube",
            f"{found} What happened to an image is known from the second validation on.",
            *([waits] if waits else ["This run has ended: validate more often to see how images change."]),
        )
    return None


def _same_rows(unfolded: Unfolded, events: EventCube) -> bool:
    return unfolded.classes.names == events.classes and unfolded.layers.names == events.layers
