"""What is unusual in the run: episodes, or every single finding behind them; each a jump to its place."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import panel as pn
import panel_material_ui as pmui

from deeptracker.app.anomaly_groups import row_of
from deeptracker.app.anomaly_strip import AnomalyStrip
from deeptracker.app.episode_panel import EpisodePanel
from deeptracker.app.findings_panel import FindingsPanel
from deeptracker.app.run_walls import choice
from deeptracker.app.thresholds import Thresholds
from deeptracker.app.views.base import View
from deeptracker.data_model.rules import find_rules

STATUS = """
.status { font-size: 12px; color: var(--dt-muted); padding-left: 12px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
"""
BAR = {"alignItems": "center", "gap": "8px", "padding": "0 8px 4px 8px", "minHeight": "34px", "flexWrap": "wrap"}
SHOWN = {"Episodes": "episodes", "Findings": "findings"}
ORDERS = {"Most important first": "score", "In order of time": "time"}


class Anomalies(View):
    """Reads the window and the brush, writes the brush and the place of what is picked."""

    title: ClassVar[str] = "Anomalies"
    description: ClassVar[str] = "What is unusual, where and when"
    icon: ClassVar[str] = "notifications"
    order: ClassVar[int] = 40

    def build(self) -> Any:
        """Return status and thresholds over the strip of all rules and the episodes or findings."""
        session = self.session
        self._table = session.anomalies()
        self._strip: AnomalyStrip | None = None
        self._findings = FindingsPanel(self)
        self._episodes = EpisodePanel(self, lambda: setattr(self._what, "value", "findings"))
        self._thresholds = Thresholds(session.search.rules, self.guarded(lambda: session.search.start(now=True)))
        self._thresholds.layout.visible = False
        what = "Episodes: what belongs together. Findings: everything that the rules found, one by one"
        self._what = choice(SHOWN, "episodes", what, "episodes-or-findings")
        self._order = choice(ORDERS, "score", "Order of the episodes", "episode-order")
        self._status = pn.pane.HTML(
            stylesheets=[STATUS], sizing_mode="stretch_width", min_width=190, margin=0, align="center"
        )
        self._tune = pmui.Button(
            label="Thresholds", icon="tune", size="small", variant="text", margin=0, css_classes=["tune"]
        )
        self._here = pmui.Checkbox(
            label="On screen only", value=False, size="small", margin=0, align="center", css_classes=["here"]
        )
        self._strip_place = pn.Column(sizing_mode="stretch_width", margin=0)
        self._list_place = pn.Column(self._episodes.list, sizing_mode="stretch_both", margin=0, min_height=0)
        self.watch(self._tune, lambda event: self._show_thresholds(), "clicks")
        self.watch(self._what, lambda event: self._switch(), "value")
        self.watch(self._order, lambda event: self._reorder(), "value")
        self.watch(session.search, lambda event: self._searched(), "version")
        self.watch(session.search, lambda event: self._say(), "searching")
        self.watch(self._here, lambda event: self._redraw(), "value")
        self.watch(session.selection, lambda *events: self._redraw(), "brush")
        self.watch(session.selection, lambda *events: self._follow(), "window")
        self.watch(session.run, lambda event: self._redraw(), "version")
        self.watch(session.selection, lambda event: self._mark(), "anomaly")
        self.watch(session, lambda event: self._redraw(restyle=True), "theme")
        self._redraw(restyle=True)
        bar = pmui.Row(
            self._what,
            self._order,
            self._status,
            self._here,
            self._tune,
            sizing_mode="stretch_width",
            margin=0,
            sx=BAR,
        )
        return pn.Column(
            bar, self._thresholds.layout, self._strip_place, self._list_place, sizing_mode="stretch_both", margin=0
        )

    def _show_thresholds(self) -> None:
        self._thresholds.layout.visible = not self._thresholds.layout.visible

    def _switch(self) -> None:
        """Show the episodes or the single findings."""
        episodes = self._what.value == "episodes"
        self._order.visible = episodes
        self._redraw()
        self._list_place[:] = [self._episodes.list if episodes else self._findings.list]

    def _reorder(self) -> None:
        self._episodes.in_time = self._order.value == "time"
        self._redraw()

    def _searched(self) -> None:
        """Take over what was found; what was picked stays picked although its row may be another now."""
        selection, before = self.session.selection, self._table
        self._table = self.session.anomalies()
        if selection.anomaly is not None and selection.anomaly < len(before):
            old = before.iloc[selection.anomaly]
            selection.anomaly = row_of(self._table, old["rule"], old["entity"], int(old["start"]))
        self._redraw()

    @property
    def _span(self) -> tuple[int, int]:
        """The iterations that are listed: those brushed, else those on screen if wanted, else all."""
        brush = self.session.selection.brush
        if brush is not None:
            return (int(brush[0]), int(brush[1]))
        return self.session.window if self._here.value else self.session.axes.whole

    def _follow(self) -> None:
        """Take over another window; the list itself only changes if it is about what is on screen."""
        if self._here.value and self.session.selection.brush is None:
            self._redraw()
        else:
            self._draw_strip(restyle=False)
            self._episodes.list.window = self._findings.list.window = list(self.session.window)

    def _redraw(self, restyle: bool = False) -> None:
        self._draw_strip(restyle)
        if self._what.value == "episodes":
            self._episodes.draw(self._span)
        else:
            self._findings.draw(self._table, self._span)
        self._say()

    def _draw_strip(self, restyle: bool) -> None:
        rules = [name for name in find_rules().rules if (self._table["rule"] == name).any()]
        if self._strip is None or self._strip.rules != rules:
            self._strip = AnomalyStrip(rules, self.session.axes.iterations, self._brush) if rules else None
            self._strip_place[:] = [self._strip.layout] if self._strip else []
            restyle = True
        if self._strip is not None:
            if restyle:
                self._strip.restyle(self.session.colors)
            self._strip.draw(self._table, self.session.window, self.session.selection.brush)

    def _brush(self, start: float, stop: float) -> None:
        first, last = sorted((int(start), int(np.ceil(stop))))
        self.session.selection.brush = (first, last) if last > first else None

    def _say(self) -> None:
        search = self.session.search
        brushed = self.session.selection.brush is not None
        where = " brushed" if brushed else " on screen" if self._here.value else ""
        first, stop = self._span
        words = f"Iterations {first:,} to {stop - 1:,}{where}"
        if search.searching or not search.version:
            words += ", searching …"
        self._status.object = f'<div class="status">{words}</div>'

    def _mark(self) -> None:
        (self._episodes if self._what.value == "episodes" else self._findings).mark()
