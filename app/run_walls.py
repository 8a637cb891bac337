"""What all walls of a run share: theme, landmarks, anomaly marks, brush, and growing with the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from deeptracker.app.later import on_page
from deeptracker.app.views.base import View
from deeptracker.app.wall.plot import Mark, Wall

MOST_MARKS = 600
"""Anomalies marked on one wall; the strongest of each rule come first."""
BAR = {"alignItems": "center", "gap": "8px", "padding": "8px 8px 4px 8px", "minHeight": "44px", "flexWrap": "nowrap"}
SMALL = {
    "& .MuiInputBase-root": {"fontSize": "12px", "height": "30px"},
    "& .MuiInputBase-input": {"padding": "4px 8px"},
    "& .MuiFormLabel-root": {"fontSize": "12px"},
}
WORDS = """
:host { container-type: inline-size; min-width: 0; }
@container (max-width: 40px) { .words { display: none; } }  /* a letter or two say nothing */
.words { font-size: 12px; color: var(--dt-muted); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.words b { color: var(--dt-text); font-weight: 600; }
"""


def marks_of(table: pd.DataFrame, kind: str, names: Sequence[str], most: int = MOST_MARKS) -> list[Mark]:
    """Return marks for the anomalies of one kind of entity; `names` are the entities by number."""
    number = {name: index for index, name in enumerate(names)}
    chosen = table[table["kind"] == kind]
    # Not `isin`: it would make an array of all the names, which may be those of 50,000 images.
    chosen = chosen[np.array([entity in number for entity in chosen["entity"]], np.bool_)]
    if len(chosen) > most:
        strength = chosen.groupby("rule")["score"].rank(ascending=False)
        chosen = chosen.loc[strength.sort_values().index[:most]]
    rows = chosen[["entity", "start", "stop"]].itertuples(index=False)
    return [Mark(number[entity], int(start), int(stop)) for entity, start, stop in rows]


class TiedWall:
    """A wall tied to its view's session; `names` are its entities by number, as anomalies call them."""

    def __init__(self, view: View, wall: Wall, kind: str = "", names: Sequence[str] = ()) -> None:
        self.view, self.wall, self.kind, self.names = view, wall, kind, list(names)
        session = view.session
        wall.on_brush, wall.on_error = view.guarded(self._brushed), view.fail
        view.watch(session, lambda event: setattr(wall, "theme", session.theme), "theme")
        view.watch(session.run, lambda event: self.grow(), "version")
        view.watch(session.selection, lambda event: setattr(wall, "brush", session.selection.brush), "brush")
        view.watch(session.search, lambda event: self.mark(), "version")
        wall.param.update(theme=session.theme, brush=session.selection.brush)
        self.annotate()

    def rename(self, kind: str, names: Sequence[str]) -> None:
        """The wall shows other entities."""
        self.kind, self.names = kind, list(names)
        self.mark()

    def grow(self) -> None:
        """Draw what the run has new, without moving anything."""
        self.wall.refresh()
        self.annotate()

    def annotate(self) -> None:
        """Take over the landmarks and anomalies known now."""
        found = self.view.session.landmarks()
        self.wall.landmarks = [(landmark.iteration, landmark.label) for landmark in found]
        self.mark()

    def mark(self) -> None:
        """Take over the anomalies found so far."""
        if self.kind:
            self.wall.marks = marks_of(self.view.session.anomalies(), self.kind, self.names)

    def _brushed(self, span: tuple[int, int] | None) -> None:
        self.view.session.selection.brush = span


def bar(*parts: Any) -> Any:
    """Return a toolbar over a wall."""
    return pmui.Row(*parts, sizing_mode="stretch_width", margin=0, sx=BAR)


def select(options: dict[str, Any] | list[str], value: Any, label: str, width: int = 150, **params: Any) -> Any:
    """Return a small chooser."""
    return pmui.Select(
        options=options,
        value=value,
        label=label,
        width=width,
        size="small",
        margin=0,
        align="center",
        sx=SMALL,
        **params,
    )


def choice(options: dict[str, Any], value: Any, help_text: str, name: str) -> Any:
    """Return a row of buttons of which one is pressed; `name` is its CSS class."""
    return pmui.RadioButtonGroup(
        options=options,
        value=value,
        size="small",
        color="primary",
        variant="outlined",
        description=help_text,
        margin=0,
        align="center",
        css_classes=[name],
        sx={"whiteSpace": "nowrap", "flex": "none", "& .MuiToggleButton-root": {"fontSize": "12px", "height": "30px"}},
    )


def search_field(label: str = "Search", width: int = 120) -> Any:
    """Return a small field to search rows by name."""
    return pmui.TextInput(
        placeholder=label,
        label="",
        width=width,
        size="small",
        margin=0,
        align="center",
        sx=SMALL,
        css_classes=["search"],
    )


def toggle(label: str, help_text: str) -> Any:
    """Return a small switch as a button."""
    return pmui.Toggle(
        label=label,
        value=False,
        size="small",
        description=help_text,
        margin=0,
        align="center",
        sx={"whiteSpace": "nowrap", "height": "30px", "fontSize": "12px", "flex": "none"},
    )


def close_button(help_text: str, on_click: Callable[[], None]) -> Any:
    """Return a small cross."""
    return pmui.IconButton(
        icon="close",
        size="small",
        icon_size="16px",
        color="secondary",
        margin=0,
        align="center",
        description=help_text,
        on_click=lambda event: on_page(on_click),
    )


def words(**params: Any) -> pn.pane.HTML:
    """Return a line of words that gives way to everything else."""
    return pn.pane.HTML(stylesheets=[WORDS], margin=(0, 4), sizing_mode="stretch_width", align="center", **params)


def line(bold: str, *more: str) -> str:
    """Return the HTML of such a line."""
    rest = " · ".join(escape(part) for part in more if part)
    full = escape(" · ".join(part for part in (bold, *more) if part), quote=True)
    return f'<div class="words" title="{full}"><b>{escape(bold)}</b>{"  " if bold else ""}{rest}</div>'
