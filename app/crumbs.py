"""What is selected, in one line: each part with a way to let go of it, and one to let go of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from deeptracker.app.session import Session
from deeptracker.data_model.selection import Selection

HINT = (
    "Drag across the timeline or turn the wheel over it to zoom; double-click shows the whole run. "
    "Click a row of a view to pick it."
)


def counted(names: list[Any], singular: str, plural: str, most: int = 3) -> str:
    """Return picked things in words: their names when they are few, else their number."""
    if len(names) > most:
        return f"{len(names):,} {plural}"
    shown = ", ".join(_short(str(name)) for name in names)
    return f"{singular if len(names) == 1 else plural} {shown}"


def _short(name: str, longest: int = 32) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def parts(selection: Selection, window: tuple[int, int]) -> list[tuple[str, dict[str, Any]]]:
    """Return what is selected as (words, values that let go of it); empty when nothing is."""
    found: list[tuple[str, dict[str, Any]]] = []
    if selection.window is not None:
        start, stop = window
        found.append((f"iterations {start:,} to {stop - 1:,}", {"window": None}))
    if selection.brush is not None:
        start, stop = (int(end) for end in selection.brush)
        found.append((f"brushed {start:,} to {stop - 1:,}", {"brush": None}))
    for name, singular, plural in (
        ("layers", "layer", "layers"),
        ("filters", "filter", "filters"),
        ("classes", "class", "classes"),
        ("images", "image", "images"),
    ):
        picked = getattr(selection, name)
        if picked:
            found.append((counted(picked, singular, plural), {name: []}))
    if selection.anomaly is not None:
        found.append((f"anomaly {selection.anomaly + 1}", {"anomaly": None}))
    return found


class Crumbs:
    """The line itself, kept up to date with the selection."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.row = pmui.Row(
            sizing_mode="stretch_width",
            height=34,
            margin=0,
            css_classes=["crumbs"],
            sx={"alignItems": "center", "gap": "6px", "paddingLeft": "16px", "paddingRight": "16px"},
        )
        selection = session.selection
        names = [name for name in selection.param if name not in ("name", "cursor", "statistic", "follow")]
        self._watcher = selection.param.watch(lambda *events: pn.state.execute(self.update), names)
        self._shown: list[tuple[str, dict[str, Any]]] | None = None
        self.update()

    def update(self) -> None:
        """Show what is selected now."""
        found = parts(self.session.selection, self.session.window)
        if found == self._shown:
            return
        self._shown = found
        if not found:
            self.row[:] = [_words(HINT)]
            return
        chips = [_chip(words, self._release(values)) for words, values in found]
        reset = pmui.Button(
            label="Reset",
            icon="restart_alt",
            variant="text",
            size="small",
            margin=0,
            align="center",
            description="Let go of everything and show the whole run",
            on_click=lambda event: self.session.selection.reset(),
        )
        self.row[:] = [*chips, reset]

    def _release(self, values: dict[str, Any]) -> Callable[[Any], None]:
        def release(event: Any) -> None:
            self.session.selection.param.update(**values)

        return release

    def close(self) -> None:
        """Stop watching the selection."""
        self.session.selection.param.unwatch(self._watcher)


def _chip(words: str, release: Callable[[Any], None]) -> pmui.Button:
    return pmui.Button(
        label=words,
        end_icon="close",
        variant="outlined",
        color="secondary",
        size="small",
        margin=0,
        align="center",
        description=f"Let go of {words}",
        on_click=release,
        height=24,
        sx={"borderRadius": "12px", "padding": "0 9px", "fontSize": "12px", "minHeight": 0},
    )


def _words(text: str) -> pmui.Typography:
    return pmui.Typography(text, margin=0, align="center", sx={"fontSize": "12px", "color": "text.secondary"})
