"""The validation view: loss and error, a small multiple per class, and the images of the classes picked."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import panel as pn

from deeptracker.app.anomaly_counts import counts_by_class
from deeptracker.app.event_plot import EventPlot
from deeptracker.app.image_panel import ImagePanel
from deeptracker.app.notices import notice
from deeptracker.app.run_walls import TiedWall, bar, choice, line, search_field, select, toggle, words
from deeptracker.app.session import Session
from deeptracker.app.views.base import View
from deeptracker.app.wall import layout
from deeptracker.app.wall.order import by_shape
from deeptracker.app.wall.plot import Wall
from deeptracker.app.wall.run_source import CurvesSource, SeriesSource

STATISTICS = {
    "Error": ("error", "Share of the class's images that are taken for another class"),
    "Loss": ("loss", "Mean of -log(probability of the true class), in nats"),
    "Probability": ("probability", "Mean probability given to the true class"),
}
ORDERS = {"By name": "name", "Worst at the end": "last", "Most anomalies": "anomalies", "Like shapes": "shape"}
ABOVE = {"Curves": "curves", "Events": "events"}
ABOVE_HELP = "Above: loss and error, or how many images were learned, forgotten, and flipped as outliers"
GUTTER = 168
CURVE_HEIGHT = 40


class Validation(View):
    """Overall curves over a wall of classes over the pixel chart of the images of the classes picked."""

    title: ClassVar[str] = "Validation"
    description: ClassVar[str] = "Loss and error, every class, and every single image"
    icon: ClassVar[str] = "fact_check"
    order: ClassVar[int] = 10

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(session, **params)
        self._walls: list[Wall] = []

    def build(self) -> Any:
        """Return the curves, the toolbar, the wall of classes and the images."""
        self._content = pn.Column(sizing_mode="stretch_both", margin=0)
        self._content[:] = self._parts()
        return self._content

    def _parts(self) -> list[Any]:
        session = self.session
        self._classes = list(session.run.class_names)
        curves = self._curves()
        self._curve_labels = list(curves)
        if not curves:
            self.watch(session.run, lambda event: self._grow(), "version")
            return [notice("Nothing to show yet", "This run holds neither scalars nor validations so far.")]
        self._timeline_place = timeline = self._timeline(curves)
        self.watch(session.run, lambda event: self._grow(), "version")
        if not self._classes or not self._validated:
            return [timeline, notice("No validation yet", "Classes and images appear with the first one.")]
        self._events = EventPlot(self, GUTTER, timeline.height)
        self._above = choice(ABOVE, "curves", ABOVE_HELP, "curves-or-events")
        self.watch(self._above, lambda event: self._show_above(), "value")
        self._statistic = select({label: name for label, (name, _) in STATISTICS.items()}, "error", "Classes by", 130)
        self._order = select(ORDERS, "name", "Order", 140)
        self._common = toggle("Common scale", "Draw all classes on one scale, so that they can be compared")
        self._common.value = True
        self._search = search_field("Find a class")
        self._words = words()
        self._wall = Wall(
            SeriesSource(session.run, "error", "classes"),
            self._leaves(),
            session.axes.iterations,
            gutter_width=GUTTER,
            with_ruler=False,
            common=True,
            theme=session.theme,
        )
        self._wall.on_select = self.guarded(self._picked)
        self._walls.append(self._wall)
        TiedWall(self, self._wall, "class", self._classes)
        self._images = ImagePanel(self, GUTTER)
        self._walls.append(self._images.wall)
        self.watch(self._statistic, lambda event: self._read(), "value")
        self.watch(self._order, lambda event: self._arrange(), "value")
        self.watch(self._search, lambda event: self._arrange(), "value_input")
        self.watch(self._common, lambda event: setattr(self._wall, "common", event.new), "value")
        self.watch(session.selection, lambda event: self._follow(), "classes")
        self._read()
        self._follow()
        top = bar(self._above, self._statistic, self._order, self._common, self._search, self._words)
        return [timeline, self._events.layout, top, self._wall, self._images.layout]

    def _show_above(self) -> None:
        """Show the overall curves, or what happened to the images."""
        events = self._above.value == "events"
        self._timeline_place.visible = not events
        self._events.show(events)

    def close(self) -> None:
        """Let go of the shared axis too."""
        super().close()
        for wall in self._walls:
            wall.close()
        self._walls = []

    @property
    def _validated(self) -> bool:
        """Whether there is a validation; known without reading one."""
        return bool(self.session.run.validation.sizes.get("validation", 0))

    def _curves(self) -> dict[str, tuple[str, str]]:
        """Return the overall curves by label, as (variable, family)."""
        run = self.session.run
        found: dict[str, tuple[str, str]]
        found = {"training " + name: (name, "scalars") for name in ("loss", "error") if name in run.scalar_names}
        if not found and run.scalar_names:
            found = {name: (name, "scalars") for name in run.scalar_names[:1]}
        if self._validated:
            found |= {"validation loss": ("loss", "validation"), "validation error": ("error", "validation")}
        order = ("training loss", "validation loss", "training error", "validation error")
        return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else 9))

    def _timeline(self, curves: dict[str, tuple[str, str]]) -> Any:
        session = self.session
        rows = [layout.Leaf(index, label) for index, label in enumerate(curves)]
        wall = Wall(
            CurvesSource(session.run, tuple(curves.values())),
            rows,
            session.axes.iterations,
            gutter_width=GUTTER,
            theme=session.theme,
            logarithmic_entities=[index for index, label in enumerate(curves) if label.endswith("loss")],
        )
        self._walls.append(wall)
        TiedWall(self, wall)
        height = 40 + CURVE_HEIGHT * len(curves)
        return pn.Column(wall, sizing_mode="stretch_width", height=height, min_height=height, margin=0)

    def _grow(self) -> None:
        """The run has brought something that was not there at all: begin anew."""
        new = list(self.session.run.class_names) != self._classes or list(self._curves()) != self._curve_labels
        if new:
            self.close()
            self._content[:] = self._parts()

    def _leaves(self) -> list[layout.Leaf]:
        return [layout.Leaf(number, name) for number, name in enumerate(self._classes)]

    def _read(self) -> None:
        name = self._statistic.value
        self._wall.reread(SeriesSource(self.session.run, name, "classes"))
        meaning = next(meaning for key, meaning in STATISTICS.values() if key == name)
        self._words.object = line("", meaning)
        if self._order.value in ("last", "shape"):
            self._arrange()

    def _arrange(self) -> None:
        found = list(layout.leaves(layout.search(self._leaves(), self._search.value_input or "")))
        if self._order.value != "name":
            found = layout.sort(found, self._scores(self._order.value))
        self._wall.rearrange(found)

    def _scores(self, kind: str) -> list[float]:
        session = self.session
        if kind == "anomalies":
            return counts_by_class(session.run, session.anomalies())
        source = SeriesSource(session.run, self._statistic.value, "classes")
        middle = source.envelope(np.arange(len(self._classes), dtype=np.int32), session.window, 200).middle
        if kind == "shape":
            return [float(score) for score in by_shape(middle)]
        worst = -1.0 if self._statistic.value == "probability" else 1.0
        return [worst * float(value) for value in last_values(middle)]

    def _picked(self, entities: list[int]) -> None:
        self.session.selection.classes = [self._classes[entity] for entity in entities]

    def _follow(self) -> None:
        picked = [name for name in self.session.selection.classes if name in self._classes]
        self._wall.selected = [self._classes.index(name) for name in picked]
        self._images.show(picked)


def last_values(values: np.ndarray) -> np.ndarray:
    """Return the last known value of each row (rows, columns); NaN where there is none."""
    known = np.isfinite(values)
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    last = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), values[np.arange(len(values)), last], np.nan)
