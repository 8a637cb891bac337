"""The list of keys and gestures, behind a small "?"."""

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

KEYS: dict[str, dict[str, str]] = {
    "Anywhere": {
        "Ctrl Z": "Undo: back to what was selected before",
        "Ctrl Shift Z": "Redo",
        "Tab": "To the next view, button or field",
        "?": "This list",
    },
    "In a view's rows (click or Tab into them)": {
        "↑ ↓": "Point at the row above or below",
        "← →": "Point at earlier or later iterations; with Shift in longer steps",
        "Page ↑ Page ↓": "A screen of rows up or down",
        "Enter": "Pick the row and open what is behind it; with Ctrl add it to those picked",
        "Space": "Fold or unfold the group around the row",
        "+ -": "Zoom iterations in or out",
        "Shift ↑ ↓": "Zoom rows out or in",
        "Home End": "To the first or the newest iterations",
        "0": "The whole run, all rows",
        "Esc": "Let go of the rows picked, and close what is behind them",
    },
    "With the mouse": {
        "Wheel": "Zoom iterations; with Ctrl or Shift rows",
        "Drag": "Move what is on screen; along the ruler brush iterations; on the timeline draw a window",
        "Double click": "The whole run, all rows",
        "Click": "Pick a row; with Ctrl or Shift several. A group's bar folds it",
    },
}
STYLES = """
:host { font-family: var(--dt-font); }
.keys { display: grid; grid-template-columns: max-content 1fr; gap: 6px 16px; font-size: 13px; line-height: 1.45;
  color: var(--dt-text); align-items: baseline; }
.keys h4 { grid-column: 1 / -1; margin: 10px 0 0; font-size: 12px; font-weight: 600; color: var(--dt-muted); }
.keys h4:first-child { margin-top: 0; }
kbd { font: 12px var(--dt-font); border: 1px solid var(--dt-border); border-radius: 4px; padding: 1px 6px;
  background: var(--dt-page); white-space: nowrap; }
"""


def as_html() -> str:
    """Return the list as HTML."""
    lines = []
    for title, keys in KEYS.items():
        lines.append(f"<h4>{escape(title)}</h4>")
        lines += [f"<span><kbd>{escape(key)}</kbd></span><span>{escape(words)}</span>" for key, words in keys.items()]
    return f'<div class="keys">{"".join(lines)}</div>'


class KeyHelp:
    """The button, and the dialog it opens; Escape or a click beside it closes it."""

    def __init__(self) -> None:
        words = pn.pane.HTML(as_html(), stylesheets=[STYLES], sizing_mode="stretch_width", margin=0)
        self.dialog: Any = pmui.Dialog(
            words,
            title="Keys and gestures",
            title_variant="h5",
            show_close_button=True,
            open=False,
            close_on_click=True,
            margin=0,
        )
        self.button = pmui.IconButton(
            icon="help_outline",
            size="small",
            icon_size="18px",
            margin=0,
            align="center",
            color="secondary",
            description="Keys and gestures (?)",
            on_click=lambda event: self.show(),
            css_classes=["help"],
            sx={"padding": "4px"},
        )

    def show(self) -> None:
        """Open the list, or close it where it is open."""
        self.dialog.open = not self.dialog.open
