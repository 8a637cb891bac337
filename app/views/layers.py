"""The layer view: the network's tree with a small multiple on each row; a layer opens its filters and kernels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import panel as pn

from deeptracker.app.anomaly_counts import counts_by_layer
from deeptracker.app.filter_panel import FilterPanel
from deeptracker.app.notices import notice
from deeptracker.app.run_walls import TiedWall, bar, line, search_field, select, toggle, words
from deeptracker.app.session import Session
from deeptracker.app.views.base import View
from deeptracker.app.wall import layout
from deeptracker.app.wall.order import by_shape
from deeptracker.app.wall.plot import Wall
from deeptracker.app.wall.run_source import DistributionSource, SeriesSource, distributions, layer_statistics
from deeptracker.app.wall.source import EnvelopeSource
from deeptracker.data_model.vocabulary import Statistic

PREFERRED = "relative_change_l2"
ORDERS = {"Network order": "network", "Most anomalies": "anomalies", "Largest value": "value", "Like shapes": "shape"}
GUTTER = 168


def statistic_options(statistics: list[Statistic]) -> dict[str, str]:
    """Return the choosable statistics by label, the user's own first; a median stands for the whole distribution."""
    whole = {f"{group}_median": group for group in distributions(statistics)}
    inner = {f"{group}_{part}" for group in whole.values() for part in ("q1", "q3")}
    ranks = {"own": 0, "update": 1, "weight": 2, "gradient": 3, "activation": 4}
    ordered = sorted(statistics, key=lambda one: (ranks.get(one.group, len(ranks)), one.name not in whole))
    named = [(f"{whole[one.name]} distribution" if one.name in whole else one.name, one.name) for one in ordered]
    return {label.replace("_", " "): name for label, name in named if name not in inner}


def source_of(view: View, name: str) -> EnvelopeSource:
    """Return where a statistic of layers is read from."""
    run = view.session.run
    whole = {f"{group}_median": group for group in distributions(run.layer_statistics)}
    return DistributionSource(run, whole[name]) if name in whole else SeriesSource(run, name, "layers")


class Layers(View):
    """A wall of all layers over one of their statistics, and below it the filters of the layer picked."""

    title: ClassVar[str] = "Layers"
    description: ClassVar[str] = "Every layer's weights, gradients and updates over all iterations"
    icon: ClassVar[str] = "layers"
    order: ClassVar[int] = 20

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(session, **params)
        self._wall: Wall | None = None

    def build(self) -> Any:
        """Return the toolbar, the wall of layers and, for the layer picked, its filters."""
        session = self.session
        self._layers = [layer.name for layer in session.run.layer_list]
        if not self._layers or not layer_statistics(session.run):
            return notice("No layers recorded", "This run holds no statistics of layers.")
        self._statistics = {one.name: one for one in layer_statistics(session.run)}
        self._tree = layout.tree_of(
            [layer.path for layer in session.run.layer_list], [name.rsplit(".", 1)[-1] for name in self._layers]
        )
        options = statistic_options(layer_statistics(session.run))
        self._statistic = select(options, self._wanted(), "Statistic", 190)
        self._order = select(ORDERS, "network", "Order", 145)
        self._common = toggle("Common scale", "Draw all layers on one scale, so that they can be compared")
        self._search = search_field("Find a layer")
        self._words = words()
        statistic = self._statistics[self._wanted()]
        self._wall = Wall(
            source_of(self, statistic.name),
            self._tree,
            session.axes.iterations,
            gutter_width=GUTTER,
            logarithmic=statistic.logarithmic,
            unit=statistic.unit,
            theme=session.theme,
        )
        self._wall.on_select = self.guarded(self._picked)
        TiedWall(self, self._wall, "layer", self._layers)
        self._filters = FilterPanel(self, GUTTER)
        self.watch(self._statistic, lambda event: self._choose(event.new), "value")
        self.watch(self._order, lambda event: self._arrange(), "value")
        self.watch(self._search, lambda event: self._arrange(), "value_input")
        self.watch(self._common, lambda event: setattr(self._wall, "common", event.new), "value")
        self.watch(session.selection, lambda event: self._follow_statistic(), "statistic")
        self.watch(session.selection, lambda event: self._follow_layers(), "layers")
        self._explain()
        self._follow_layers()
        top = bar(self._statistic, self._order, self._common, self._search, self._words)
        return pn.Column(top, self._wall, self._filters.layout, sizing_mode="stretch_both", margin=0)

    def close(self) -> None:
        """Let go of the shared axis too."""
        super().close()
        if self._wall is not None:
            self._wall.close()
            self._filters.close()

    def _wanted(self) -> str:
        chosen = self.session.selection.statistic
        if chosen in self._statistics:
            return chosen
        return PREFERRED if PREFERRED in self._statistics else next(iter(self._statistics))

    def _choose(self, name: str) -> None:
        self.session.selection.statistic = name
        statistic = self._statistics[name]
        assert self._wall is not None
        self._wall.param.update(logarithmic=statistic.logarithmic, unit=statistic.unit)
        self._wall.reread(source_of(self, name))
        self._explain()
        if self._order.value in ("value", "shape"):
            self._arrange()

    def _follow_statistic(self) -> None:
        wanted = self._wanted()
        if self._statistic.value != wanted and wanted in self._statistic.options.values():
            self._statistic.value = wanted

    def _explain(self) -> None:
        statistic = self._statistics[self._statistic.value]
        scale = "logarithmic scale" if statistic.logarithmic else ""
        self._words.object = line("", statistic.meaning, statistic.unit, scale)

    def _arrange(self) -> None:
        assert self._wall is not None
        found = layout.search(self._tree, self._search.value_input or "")
        kind = self._order.value
        if kind == "network":
            self._wall.rearrange(found)
        else:
            # Without its groups around it a layer needs its whole name.
            full = [layout.Leaf(leaf.entity, self._layers[leaf.entity]) for leaf in layout.leaves(found)]
            self._wall.rearrange(layout.sort(full, self._scores(kind)))

    def _scores(self, kind: str) -> list[float]:
        if kind == "anomalies":
            return counts_by_layer(self.session.run, self.session.anomalies())
        entities = np.arange(len(self._layers), dtype=np.int32)
        window = self.session.window
        middle = source_of(self, self._statistic.value).envelope(entities, window, 200).middle
        if kind == "shape":
            return [float(score) for score in by_shape(middle)]
        known = np.isfinite(middle)
        mean = np.where(known, middle, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return [float(value) for value in np.where(known.any(axis=1), mean, np.nan)]

    def _picked(self, entities: list[int]) -> None:
        self.session.selection.layers = [self._layers[entity] for entity in entities]

    def _follow_layers(self) -> None:
        assert self._wall is not None
        picked = [name for name in self.session.selection.layers if name in self._layers]
        self._wall.selected = [self._layers.index(name) for name in picked]
        self._filters.show(picked[-1] if picked else None)
