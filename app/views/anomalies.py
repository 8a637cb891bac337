"""The list of anomalies and landmarks: what is unusual in the run, each line a jump to its place."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from deeptracker.app.anomaly_groups import Group, around, grouped, inside, row_of
from deeptracker.app.anomaly_list import AnomalyList
from deeptracker.app.anomaly_strip import AnomalyStrip
from deeptracker.app.axes import clamped
from deeptracker.app.thresholds import Thresholds
from deeptracker.app.views.base import View
from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.rules import find_rules

MOST_LINES = 1000
MOST_NAMES = 6
STATUS = ".status { font-size: 12px; color: var(--dt-muted); padding-left: 12px; white-space: nowrap; }"


class Anomalies(View):
    """Reads the window and the brush, writes the brush and the place of the line that is picked."""

    title: ClassVar[str] = "Anomalies"
    description: ClassVar[str] = "What is unusual, where and when"
    icon: ClassVar[str] = "notifications"
    order: ClassVar[int] = 40

    def build(self) -> Any:
        """Return status and thresholds over the strip of all rules and the list."""
        session = self.session
        self._hidden: set[str] = set()
        self._table = session.anomalies()
        self._groups: list[Group] = []
        self._strip: AnomalyStrip | None = None
        self._list = AnomalyList(self.guarded(self._act), sizing_mode="stretch_both", margin=0)
        self._thresholds = Thresholds(session.search.rules, self.guarded(lambda: session.search.start(now=True)))
        self._thresholds.layout.visible = False
        self._status = pn.pane.HTML(stylesheets=[STATUS], sizing_mode="stretch_width", margin=0, align="center")
        self._tune = pmui.Button(
            label="Thresholds", icon="tune", size="small", variant="text", margin=0, css_classes=["tune"]
        )
        self._here = pmui.Checkbox(
            label="On screen only", value=False, size="small", margin=0, align="center", css_classes=["here"]
        )
        self._strip_place = pn.Column(sizing_mode="stretch_width", margin=0)
        self.watch(self._tune, lambda event: self._show_thresholds(), "clicks")
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
            self._status,
            self._here,
            self._tune,
            sizing_mode="stretch_width",
            margin=0,
            sx={"alignItems": "center", "padding": "0 8px 0 0", "minHeight": "32px"},
        )
        return pn.Column(
            bar, self._thresholds.layout, self._strip_place, self._list, sizing_mode="stretch_both", margin=0
        )

    def _show_thresholds(self) -> None:
        self._thresholds.layout.visible = not self._thresholds.layout.visible

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
            self._list.window = list(self.session.window)

    def _redraw(self, restyle: bool = False) -> None:
        images = self.session.run.images
        names = self.session.run.class_names
        self._class_of = {
            str(name): names[number]
            for name, number in zip(images["id"].values, images["class"].values, strict=True)
            if 0 <= number < len(names)
        }
        here = inside(self._table, self._span)
        shown = here[~here["rule"].isin(list(self._hidden))]
        self._groups = grouped(shown, self._class_of)
        self._draw_strip(restyle)
        self._draw_chips(here)
        self._draw_lines()
        self._list.window = list(self.session.window)
        self._say()
        self._mark()

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

    def _draw_chips(self, here: pd.DataFrame) -> None:
        found = here["rule"].value_counts()
        self._list.chips = [
            {
                "rule": name,
                "title": name.replace("_", " "),
                "source": f"{kind.title}. Source: {kind.source}",
                "count": int(found.get(name, 0)),
                "on": name not in self._hidden,
                "color": self._color(name),
                "landmark": kind.landmark,
            }
            for name, kind in find_rules().rules.items()
        ]

    def _color(self, rule: str) -> str:
        theme, rules = self.session.colors, list(find_rules().rules)
        return theme.categorical[rules.index(rule) % len(theme.categorical)] if rule in rules else theme.muted

    def _draw_lines(self) -> None:
        rules = find_rules().rules
        lines = [
            {
                "row": group.row,
                "start": group.start,
                "stop": group.stop,
                "text": group.text,
                "members": _named(group),
                "score": f"{group.score:.3g}",
                "color": self._color(group.rule),
                "landmark": group.rule in rules and rules[group.rule].landmark,
            }
            for group in self._groups[:MOST_LINES]
        ]
        self._list.content = {"lines": lines, "note": self._note()}

    def _note(self) -> str:
        search, words = self.session.search, []
        if len(self._groups) > MOST_LINES:
            words.append(
                f"The first {MOST_LINES} of {len(self._groups):,} lines; brush iterations or hide rules for the rest."
            )
        if not self._groups and search.version and not search.failures:
            hidden = " by the rules shown" if self._hidden else ""
            words.append(f"Nothing unusual was found{hidden} in these iterations.")
        words += [f"The rule {name} could not look: {reason}." for name, reason in search.failures.items()]
        return " ".join(words)

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
        """Mark the line that holds the picked anomaly."""
        row = self.session.selection.anomaly
        self._list.picked = None
        if row is None or not 0 <= row < len(self._table):
            return
        picked = grouped(self._table.iloc[[row]], self._class_of)[0]
        same = [
            one for one in self._groups if (one.rule, one.place, one.start) == (picked.rule, picked.place, picked.start)
        ]
        self._list.picked = same[0].row if same else None

    def _act(self, kind: str, value: Any) -> None:
        if kind == "rule" and value in find_rules().rules:
            self._hidden ^= {value}
            self._redraw()
        elif kind == "pick":
            self._jump(next((group for group in self._groups if group.row == value), None))

    def _jump(self, group: Group | None) -> None:
        """Bring the place of a line on screen in every view; the line picked already is let go of."""
        selection, axes = self.session.selection, self.session.axes
        if group is None:
            return
        if self._list.picked == group.row:
            selection.param.update(anomaly=None, layers=[], filters=[], classes=[], images=[])
            return
        change: dict[str, Any] = {"anomaly": group.row, **self._place(group)}
        window = clamped(around((group.start, group.stop), axes.whole, self.session.window), axes.whole)
        if window != self.session.window:
            change["window"] = window
        selection.param.update(**change)

    def _place(self, group: Group) -> dict[str, list[Any]]:
        place: dict[str, list[Any]] = {"layers": [], "filters": [], "classes": [], "images": []}
        run = self.session.run
        if group.kind == Kind.IMAGE:
            place["images"] = list(group.members)
            place["classes"] = list(
                dict.fromkeys(self._class_of[one] for one in group.members if one in self._class_of)
            )
        elif group.kind == Kind.FILTER:
            first = run.filter_slice(group.place).start
            place["layers"] = [group.place]
            place["filters"] = [first + int(name[name.rindex("[") + 1 : -1]) for name in group.members]
        elif group.kind == Kind.LAYER:
            place["layers"] = [group.place]
        elif group.kind == Kind.CLASS:
            place["classes"] = [group.place]
        return place


def _named(group: Group) -> str:
    """Return the names behind a line of several, the first few of them."""
    if group.count == 1:
        return ""
    names = [name[name.rindex("[") :] if group.kind == Kind.FILTER else name for name in group.members[:MOST_NAMES]]
    more = group.count - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")
