"""The filters of one layer as a heat map over iterations, and the kernels of the filters picked."""

from __future__ import annotations

from html import escape

import numpy as np
import panel as pn

from deeptracker.app.density_plot import DensityPlot
from deeptracker.app.kernels import kernel_strip
from deeptracker.app.run_walls import TiedWall, bar, choice, close_button, line, select, words
from deeptracker.app.views.base import View
from deeptracker.app.wall import layout
from deeptracker.app.wall.order import by_shape
from deeptracker.app.wall.plot import Wall
from deeptracker.app.wall.run_source import SeriesSource
from deeptracker.data_model.anomaly import filter_name
from deeptracker.data_model.vocabulary import Layer

SHOWN = {"Heat map": "rows", "Lines": "lines"}
SHOWN_HELP = "A row per filter, or the lines of all filters on one another, dense where many run"
ORDERS = {"By number": "number", "Most anomalies": "anomalies", "Largest value": "value", "Like shapes": "shape"}
KERNELS_HEIGHT = 86
MOST_KERNELS = 10
"""Snapshots shown of a filter's kernels, spread over those on screen."""
STRIP = """
.kernels { display: flex; gap: 12px; padding: 4px 10px; align-items: flex-end; overflow-x: auto; height: 78px; }
.kernels figure { margin: 0; text-align: center; flex: none; }
.kernels img { height: 46px; image-rendering: pixelated; border: 1px solid var(--dt-border); display: block; }
.kernels figcaption { font-size: 10px; color: var(--dt-muted); }
.kernels span { font-size: 11px; color: var(--dt-muted); align-self: center; }
.kernels b { font-size: 11px; font-weight: 600; color: var(--dt-text); align-self: center; flex: none; }
"""


class FilterPanel:
    """Shows the filters of the layer picked last; hidden while none is. Reads and writes the selection's filters."""

    def __init__(self, view: View, gutter_width: int) -> None:
        self.view = view
        self.layer: Layer | None = None
        session = view.session
        self._statistics = {one.name: one for one in session.run.filter_statistics}
        self.layout = pn.Column(sizing_mode="stretch_both", margin=0, visible=False, min_height=150)
        if not self._statistics:
            return
        options = {name.replace("_", " "): name for name in self._statistics}
        self._statistic = select(options, next(iter(self._statistics)), "Filters by", 165)
        self._order = select(ORDERS, "number", "Order", 145)
        self._shown = choice(SHOWN, "rows", SHOWN_HELP, "filters-as")
        self._words = words()
        self._kernels = pn.pane.HTML(
            stylesheets=[STRIP], sizing_mode="stretch_width", height=KERNELS_HEIGHT, margin=0, visible=False
        )
        close = close_button("Close the filters", lambda: setattr(session.selection, "layers", []))
        self.wall = Wall(
            SeriesSource(session.run, self._statistic.value, "filters"),
            [],
            session.axes.iterations,
            gutter_width=gutter_width,
            with_ruler=False,
            theme=session.theme,
        )
        self.wall.on_select = view.guarded(self._picked)
        self._tied = TiedWall(view, self.wall)
        self.lines = DensityPlot(session.axes.iterations, gutter_width, view.guarded(self._toggle_filter))
        self.lines.on_error, self.lines.layout.visible = view.fail, False
        self.lines.restyle(session.theme)
        self._rows = pn.Column(self.wall, sizing_mode="stretch_both", margin=0)
        view.watch(self._shown, lambda event: self._switch(), "value")
        view.watch(session.run, lambda event: self.lines.request(), "version")
        view.watch(session, lambda event: self.lines.restyle(session.theme), "theme")
        view.watch(self._statistic, lambda event: self._read(), "value")
        view.watch(self._order, lambda event: self._arrange(), "value")
        view.watch(session.selection, lambda event: self._follow(), "filters")
        view.watch(session.selection, lambda event: self._draw_kernels(), "window")
        view.watch(session.run, lambda event: self._draw_kernels(), "version")
        view.watch(session, lambda event: self._draw_kernels(), "theme")
        top = bar(self._words, self._shown, self._statistic, self._order, close)
        self.layout[:] = [top, self._rows, self.lines.layout, self._kernels]
        self._read()

    def close(self) -> None:
        """Let go of the shared axis."""
        if self._statistics:
            self.wall.close()
            self.lines.close()

    def show(self, name: str | None) -> None:
        """Show the filters of a layer, or nothing."""
        layers = {layer.name: layer for layer in self.view.session.run.layer_list}
        layer = layers.get(name or "")
        if not self._statistics or layer is None:
            self.layout.visible, self.layer = False, None
            return
        if self.layer is None or self.layer.name != layer.name:
            self.layer = layer
            self._tied.rename("filter", self._names())
            self._explain()
            self._arrange()
            self._draw_lines()
            self._follow()
        self.layout.visible = True

    def _explain(self) -> None:
        """Say what layer this is, and in the plot of lines what its colours mean."""
        if self.layer is not None:
            shape, count = " x ".join(str(size) for size in self.layer.shape), len(self._numbers())
            filters = f"{count:,} filters" if count else "recorded as a whole only"
            dense = "the stronger the colour, the more lines run there" if self._shown.value == "lines" else ""
            self._words.object = line(self.layer.name, self.layer.kind, shape, filters, dense)

    def _numbers(self) -> range:
        assert self.layer is not None
        place = self.view.session.run.filter_slice(self.layer.name)
        return range(place.start, place.stop)

    def _names(self) -> list[str]:
        """Return the names of all filters of the run as anomalies call them, by number."""
        layers = self.view.session.run.layer_list
        return [filter_name(layer.name, number) for layer in layers for number in range(layer.filters)]

    def _read(self) -> None:
        statistic = self._statistics[self._statistic.value]
        self.wall.param.update(logarithmic=statistic.logarithmic, unit=statistic.unit)
        self.wall.reread(SeriesSource(self.view.session.run, statistic.name, "filters"))
        self._draw_lines()
        if self.layer is not None and self._order.value in ("value", "shape"):
            self._arrange()

    def _switch(self) -> None:
        """Show the filters as rows or as lines."""
        lines = self._shown.value == "lines"
        self._rows.visible, self.lines.layout.visible, self.lines.shown = not lines, lines, lines
        self._order.visible = not lines
        self._explain()
        self._draw_lines()

    def _draw_lines(self) -> None:
        """Tell the plot of lines what to draw; it draws when it is on screen."""
        if self.layer is not None:
            statistic = self._statistics[self._statistic.value]
            title = statistic.name.replace("_", " ") + (f" ({statistic.unit})" if statistic.unit else "")
            source = SeriesSource(self.view.session.run, statistic.name, "filters")
            self.lines.show(source, self._numbers(), title, statistic.logarithmic)

    def _toggle_filter(self, number: int) -> None:
        """Pick the filter whose line was clicked, or let go of it."""
        self._picked([] if self.wall.selected == [number] else [number])

    def _arrange(self) -> None:
        if self.layer is None:
            return
        filters = self._numbers()
        rows = [layout.Leaf(number, f"filter {number - filters.start}") for number in filters]
        if self._order.value != "number" and rows:
            scores = dict(zip(filters, self._scores(filters), strict=True))
            rows = layout.sort(rows, lambda number: scores[number])
        self.wall.rearrange(rows)

    def _scores(self, filters: range) -> list[float]:
        session = self.view.session
        if self._order.value == "anomalies":
            counts = session.anomalies().query("kind == 'filter'")["entity"].value_counts()
            names = self._names()
            return [float(counts.get(names[number], 0)) for number in filters]
        source = SeriesSource(session.run, self._statistic.value, "filters")
        middle = source.envelope(np.array(filters, np.int32), session.window, 200).middle
        if self._order.value == "shape":
            return [float(score) for score in by_shape(middle)]
        known = np.isfinite(middle)
        mean = np.where(known, middle, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return [float(value) for value in np.where(known.any(axis=1), mean, np.nan)]

    def _picked(self, entities: list[int]) -> None:
        others = [number for number in self.view.session.selection.filters if number not in self._numbers()]
        self.view.session.selection.filters = [*others, *entities]

    def _follow(self) -> None:
        if self.layer is not None:
            chosen = self._numbers()
            self.wall.selected = [number for number in self.view.session.selection.filters if number in chosen]
            self.lines.pick(self.wall.selected)
            self._draw_kernels()

    def _draw_kernels(self) -> None:
        """Show the kernels of the filter picked last at the snapshots on screen."""
        run = self.view.session.run
        known = run.snapshot_iterations
        if self.layer is None or not self.wall.selected or not len(known) or len(self.layer.shape) != 4:
            self._kernels.visible = False
            return
        number = self.wall.selected[-1] - self._numbers().start
        holding = run.snapshots_of(self.layer.name)
        if not len(holding):
            none = "No snapshot holds the kernels of this layer."
            self._kernels.object = f'<div class="kernels"><b>{escape(f"filter {number}")}</b><span>{none}</span></div>'
            self._kernels.visible = True
            return
        start, stop = self.view.session.window
        inside = holding[(known[holding] >= start) & (known[holding] < stop)]
        inside = inside if len(inside) else holding[[int(np.argmin(np.abs(known[holding] - start)))]]
        chosen = inside[np.unique(np.linspace(0, len(inside) - 1, MOST_KERNELS).round().astype(int))]
        weights = np.stack([run.kernels(self.layer.name, int(snapshot))[number] for snapshot in chosen])
        pictures = kernel_strip(weights, self.view.session.colors)
        figures = "".join(
            f'<figure><img alt="kernels" src="{picture}"><figcaption>{int(known[snapshot]):,}</figcaption></figure>'
            for picture, snapshot in zip(pictures, chosen, strict=True)
        )
        self._kernels.object = f'<div class="kernels"><b>{escape(f"filter {number}")}</b>{figures}</div>'
        self._kernels.visible = True
