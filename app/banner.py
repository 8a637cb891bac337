"""What is said above the views while their run cannot be read: it was deleted, or another took its place."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from deeptracker.app.later import on_page
from deeptracker.app.live import Freshness, Live

LINK = """
:host { flex: none; font: 13px var(--dt-font); }
a { color: var(--dt-accent); }
"""
TITLES = {
    "gone": "This run is not there any more",
    "replaced": "Another run has taken this one's place",
    "failed": "This run cannot be read any more",
}


class Banner:
    """A line across the page, empty as long as there is nothing to say."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.row = pn.Column(sizing_mode="stretch_width", margin=0, min_height=0, css_classes=["banner"])
        self._said = ""
        self._watcher = live.param.watch(lambda event: on_page(self.update), ["freshness"])
        self.update()

    def update(self) -> None:
        """Say what there is to say now."""
        fresh = self.live.freshness
        said = fresh.explained if fresh.state in TITLES else ""
        if said == self._said:
            return
        self._said = said
        self.row[:] = [_line(fresh)] if said else []

    def close(self) -> None:
        """Stop watching."""
        self.live.param.unwatch(self._watcher)


def _line(fresh: Freshness) -> Any:
    parts: list[Any] = [
        pmui.Typography(TITLES[fresh.state], margin=0, sx={"fontSize": "13px", "fontWeight": 600, "flex": "none"}),
        pmui.Typography(fresh.explained, margin=0, sx={"fontSize": "12px", "color": "text.secondary"}),
        pn.Spacer(sizing_mode="stretch_width"),
    ]
    if fresh.state == "replaced":
        parts.append(pn.pane.HTML('<a href="">Show the new run</a>', stylesheets=[LINK], margin=0))
    return pmui.Row(
        *parts,
        sizing_mode="stretch_width",
        margin=0,
        sx={
            "alignItems": "center",
            "gap": "12px",
            "padding": "8px 16px",
            "borderLeft": "3px solid var(--dt-error)",
            "borderBottom": "1px solid var(--dt-border)",
            "backgroundColor": "var(--dt-surface)",
        },
    )
