"""Every single finding of the rules as a list of lines, with a chip per rule; each line a jump to its place."""

from __future__ import annotations

from typing import Any

import pandas as pd

from deeptracker.app.anomaly_groups import Group, around, grouped, inside
from deeptracker.app.anomaly_list import AnomalyList
from deeptracker.app.axes import clamped
from deeptracker.app.session import Session
from deeptracker.app.views.base import View
from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.rules import find_rules

MOST_LINES = 1000
MOST_NAMES = 6


def classes_of_images(session: Session) -> dict[str, str]:
    """Return the name of the class of every image that has one, by the image's id."""
    images, names = session.run.images, session.run.class_names
    numbers = zip(images["id"].values, images["class"].values, strict=True)
    return {str(name): names[number] for name, number in numbers if 0 <= number < len(names)}


class FindingsPanel:
    """Shows findings by `draw`; writes the place of the line picked into the selection."""

    def __init__(self, view: View) -> None:
        self.session = view.session
        self.list = AnomalyList(view.guarded(self._act), sizing_mode="stretch_both", margin=0)
        self._hidden: set[str] = set()
        self._groups: list[Group] = []
        self._class_of: dict[str, str] = {}
        self._here: pd.DataFrame = self.session.anomalies()

    def draw(self, table: pd.DataFrame, span: tuple[int, int]) -> None:
        """Show the findings that touch the iterations [start, stop)."""
        self._class_of = classes_of_images(self.session)
        self._here = inside(table, span)
        self._redraw()

    def _redraw(self) -> None:
        shown = self._here[~self._here["rule"].isin(list(self._hidden))]
        self._groups = grouped(shown, self._class_of)
        self._draw_chips()
        self._draw_lines()
        self.list.window = list(self.session.window)
        self.mark()

    def _draw_chips(self) -> None:
        found = self._here["rule"].value_counts()
        self.list.chips = [
            {
                "rule": name,
                "title": name.replace("_", " "),
                "source": f"{kind.title}. Source: {kind.source}",
                "count": int(found.get(name, 0)),
                "on": name not in self._hidden,
                "color": rule_color(self.session, name),
                "landmark": kind.landmark,
            }
            for name, kind in find_rules().rules.items()
        ]

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
                "color": rule_color(self.session, group.rule),
                "landmark": group.rule in rules and rules[group.rule].landmark,
            }
            for group in self._groups[:MOST_LINES]
        ]
        self.list.content = {"lines": lines, "note": self._note()}

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

    def mark(self) -> None:
        """Mark the line that holds the picked anomaly."""
        row, table = self.session.selection.anomaly, self.session.search.table
        self.list.picked = None
        if row is None or not 0 <= row < len(table):
            return
        picked = grouped(table.iloc[[row]], self._class_of)[0]
        same = [
            one for one in self._groups if (one.rule, one.place, one.start) == (picked.rule, picked.place, picked.start)
        ]
        self.list.picked = same[0].row if same else None

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
        if self.list.picked == group.row:
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


def rule_color(session: Session, rule: str) -> str:
    """Return the colour of a rule in the theme in use."""
    theme, rules = session.colors, list(find_rules().rules)
    return theme.categorical[rules.index(rule) % len(theme.categorical)] if rule in rules else theme.muted


def _named(group: Group) -> str:
    """Return the names behind a line of several, the first few of them."""
    if group.count == 1:
        return ""
    names = [name[name.rindex("[") :] if group.kind == Kind.FILTER else name for name in group.members[:MOST_NAMES]]
    more = group.count - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")
