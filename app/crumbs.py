"""What is selected, in one line: each part with a way to let go of it, and undo, redo and a way to let go of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from deeptracker.app.compared import Other, color_of
from deeptracker.app.later import on_page
from deeptracker.app.session import Session
from deeptracker.data_model.selection import Selection

HINT = (
    "Drag across the timeline or turn the wheel over it to zoom; double-click shows the whole run. "
    "Click a row of a view to pick it."
)
CHIP = {
    "borderRadius": "12px",
    "padding": "0 9px",
    "fontSize": "12px",
    "minHeight": 0,
    "minWidth": 0,
    "whiteSpace": "nowrap",
}


def counted(names: list[Any], singular: str, plural: str, most: int = 3) -> str:
    """Return picked things in words: their names when they are few, else their number."""
    if len(names) > most:
        return f"{len(names):,} {plural}"
    shown = ", ".join(_short(str(name)) for name in names)
    return f"{singular if len(names) == 1 else plural} {shown}"


def _short(name: str, longest: int = 32) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


Part = tuple[str, str, dict[str, Any]]


def parts(selection: Selection, window: tuple[int, int], named: dict[str, str] | None = None) -> list[Part]:
    """Return what is selected as (key, words, values that let go of it); empty when nothing is.

    `named` gives the runs laid over by their key in links.
    """
    found: list[Part] = []
    if selection.window is not None:
        start, stop = window
        found.append(("window", f"iterations {start:,} to {stop - 1:,}", {"window": None}))
    if selection.brush is not None:
        start, stop = (int(end) for end in selection.brush)
        found.append(("brush", f"brushed {start:,} to {stop - 1:,}", {"brush": None}))
    for name, singular, plural in (
        ("layers", "layer", "layers"),
        ("filters", "filter", "filters"),
        ("classes", "class", "classes"),
        ("images", "image", "images"),
    ):
        picked = getattr(selection, name)
        if picked:
            found.append((name, counted(picked, singular, plural), {name: []}))
    if selection.anomaly is not None:
        found.append(("anomaly", f"anomaly {selection.anomaly + 1}", {"anomaly": None}))
    for key, words in (named or {}).items():
        rest = [one for one in selection.runs if one != key]
        found.append((f"run {key}", words, {"runs": rest}))
    return found


class Crumbs:
    """The line itself, kept up to date with the selection and its history."""

    def __init__(self, session: Session) -> None:
        self.session = session
        history, selection = session.history, session.selection
        self._undo = _icon("undo", "Undo (Ctrl+Z)", history.undo)
        self._redo = _icon("redo", "Redo (Ctrl+Shift+Z)", history.redo)
        self._reset = pmui.Button(
            label="Reset",
            icon="restart_alt",
            variant="text",
            size="small",
            margin=0,
            align="center",
            description="Let go of everything and show the whole run",
            on_click=lambda event: on_page(selection.reset),
            css_classes=["reset"],
        )
        self._chips: dict[str, Any] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._place = pmui.Row(
            sizing_mode="stretch_width",
            margin=0,
            sx={"alignItems": "center", "gap": "6px", "minWidth": 0, "overflow": "hidden"},
        )
        self.row = pmui.Row(
            self._undo,
            self._redo,
            self._place,
            sizing_mode="stretch_width",
            height=34,
            margin=0,
            css_classes=["crumbs"],
            sx={"alignItems": "center", "gap": "2px", "paddingLeft": "10px", "paddingRight": "12px"},
        )
        names = [name for name in selection.param if name not in ("name", "cursor", "statistic", "follow", "runs")]
        self._watchers = [
            (selection, selection.param.watch(lambda *events: on_page(self.update), names)),
            (session.compared, session.compared.param.watch(lambda event: on_page(self.update), ["version"])),
            (session, session.param.watch(lambda event: on_page(self._color), ["theme"])),
            (history, history.param.watch(lambda event: on_page(self._allow), ["version"])),
        ]
        self._place[:] = [_words(HINT)]
        self._allow()
        self.update()

    def update(self) -> None:
        """Show what is selected now."""
        session = self.session
        named = {other.key: _laid_over(other) for other in session.compared.others}
        found = {key: (words, values) for key, words, values in parts(session.selection, session.window, named)}
        if list(found) != list(self._chips):
            self._chips = {key: _chip(self._release(key)) for key in found}
            self._place[:] = [*self._chips.values(), self._reset] if found else [_words(HINT)]
        for key, (words, _) in found.items():
            self._chips[key].param.update(label=_short(words, 60), description=f"Let go of {words}")
        self._color()
        self._values = {key: values for key, (_, values) in found.items()}

    def _color(self) -> None:
        """Give the chips of the runs laid over the colours of their lines."""
        for number, other in enumerate(self.session.compared.others):
            chip = self._chips.get(f"run {other.key}")
            if chip is not None:
                color = color_of(self.session.colors, number)
                chip.sx = CHIP | {"borderColor": f"{color} !important", "borderWidth": "2px !important"}

    def _allow(self) -> None:
        history = self.session.history
        self._undo.disabled, self._redo.disabled = not history.can_undo, not history.can_redo

    def _release(self, key: str) -> Callable[[Any], None]:
        def release(event: Any) -> None:
            self.session.selection.param.update(**self._values.get(key, {}))

        return release

    def close(self) -> None:
        """Stop watching the selection."""
        for owner, watcher in self._watchers:
            owner.param.unwatch(watcher)
        self._watchers = []


def _chip(release: Callable[[Any], None]) -> pmui.Button:
    return pmui.Button(
        label="",
        end_icon="close",
        variant="outlined",
        color="secondary",
        size="small",
        margin=0,
        align="center",
        on_click=lambda event: on_page(lambda: release(event)),
        height=24,
        sx=CHIP,
    )


def _laid_over(other: Other) -> str:
    name = _short(other.name)
    return f"{name} cannot be laid over: {other.problem}" if other.problem else f"with {name}"


def _icon(icon: str, words: str, act: Callable[[], None]) -> pmui.IconButton:
    return pmui.IconButton(
        icon=icon,
        size="small",
        icon_size="18px",
        margin=0,
        align="center",
        color="secondary",
        description=words,
        on_click=lambda event: on_page(act),
        css_classes=[icon],
        sx={"padding": "4px"},
    )


def _words(text: str) -> pmui.Typography:
    return pmui.Typography(
        text,
        margin=(0, 0, 0, 6),
        align="center",
        sx={"fontSize": "12px", "color": "text.secondary", "whiteSpace": "nowrap", "lineHeight": "30px"},
    )
