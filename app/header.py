"""The line that says which run this is and how fresh the picture, with the buttons that open and close views."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from deeptracker.app.later import on_page
from deeptracker.app.live import Freshness

if TYPE_CHECKING:
    from deeptracker.app.viewer import Viewer

STYLES = """
:host { min-width: 0; flex: 1 1 auto !important; font-family: var(--dt-font); }
.run { display: flex; align-items: center; gap: 14px; white-space: nowrap; font-size: 13px; color: var(--dt-muted);
  min-width: 0; overflow: hidden; }
.run b { color: var(--dt-text); font-weight: 600; font-size: 14px; overflow: hidden; text-overflow: ellipsis; }
.run a { color: var(--dt-muted); text-decoration: none; }
.run a:hover, .run a:focus-visible { color: var(--dt-accent); text-decoration: underline; }
.mark { display: inline-flex; align-items: center; gap: 6px; cursor: help; }
.mark::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: var(--dt-muted); }
.mark.recording::before { background: var(--dt-success); animation: pulse 2s ease-in-out infinite; }
.mark.waiting::before, .mark.interrupted::before { background: var(--dt-warning); }
.mark.failed, .mark.gone, .mark.replaced { color: var(--dt-error); }
.mark.failed::before, .mark.gone::before, .mark.replaced::before { background: var(--dt-error); }
.synthetic { border: 1px solid var(--dt-warning); color: var(--dt-warning); border-radius: 4px; padding: 0 6px; }
@keyframes pulse { 50% { opacity: .35; } }
@media (prefers-reduced-motion: reduce) { .mark::before { animation: none !important; } }
@media (max-width: 1180px) { .model { display: none; } }
"""


def run_line(name: str, model: str, synthetic: bool, steps: int, fresh: Freshness) -> str:
    """Return the line as HTML; whatever the run says of itself is escaped."""
    words = [
        f'<b title="{escape(name)}">{escape(name)}</b>',
        '<span class="synthetic">synthetic</span>' if synthetic else "",
        f'<span class="mark {escape(fresh.state)}" title="{escape(fresh.explained)}">{escape(fresh.words)}</span>',
        f"<span>{steps:,} iterations</span>" if steps and fresh.state not in ("recording", "waiting") else "",
        f'<span class="model">{escape(model)}</span>' if model else "",
    ]
    return f'<div class="run">{"".join(words)}</div>'


class Header:
    """The line and the buttons, as one row."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.line = pn.pane.HTML(stylesheets=[STYLES], sizing_mode="stretch_width", margin=(0, 12), align="center")
        self.buttons = pmui.CheckButtonGroup(
            options={view.title: name for name, view in viewer.found.items()},
            value=list(viewer.views),
            size="small",
            color="primary",
            variant="outlined",
            margin=(0, 8),
            align="center",
            description="Open and close views",
            css_classes=["open-views"],
        )
        self.row = pmui.Row(
            self.line,
            self.buttons,
            sizing_mode="stretch_width",
            margin=0,
            sx={"alignItems": "center", "minHeight": "48px", "minWidth": 0},
        )
        self.buttons.param.watch(lambda event: on_page(lambda: self._pressed(event)), ["value"])
        viewer.param.watch(self._opened, ["views"])
        viewer.live.param.watch(lambda event: on_page(self.update), ["freshness"])
        self.update()

    def update(self) -> None:
        """Say how fresh the run is now."""
        run = self.viewer.session.run
        description = run.description
        words = run_line(str(run.name), description.model, description.synthetic, run.steps, self.viewer.live.freshness)
        if words != self.line.object:
            self.line.object = words

    def _pressed(self, event: Any) -> None:
        self.viewer.views = [name for name in self.viewer.found if name in event.new]

    def _opened(self, event: Any) -> None:
        if list(self.buttons.value or []) != event.new:
            self.buttons.value = list(event.new)
