"""The page of one run: its header, the whole run in a strip, what is selected, and the open views side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from deeptracker.app.banner import Banner
from deeptracker.app.compared import CompareButton, Find
from deeptracker.app.crumbs import Crumbs
from deeptracker.app.follow import Follow
from deeptracker.app.header import Header
from deeptracker.app.key_help import KeyHelp
from deeptracker.app.later import on_page, sent_in_order
from deeptracker.app.live import Live
from deeptracker.app.notices import failure, notice
from deeptracker.app.overview import Overview
from deeptracker.app.session import Session
from deeptracker.app.styles import material_both, variables
from deeptracker.app.theme import FONT, THEMES
from deeptracker.app.views.base import View, find_views
from deeptracker.app.window_box import WindowBox
from deeptracker.data_model.run import Run
from deeptracker.data_model.selection import Selection

OPEN_AT_FIRST = 2
HEIGHT = 820
"""Pixels of a viewer that is put into somebody else's page."""

# The views share the room: side by side where each keeps a readable width, else below each other.
GRID = """
:host { display: grid !important; gap: 10px; padding: 0 12px 12px; overflow: auto; box-sizing: border-box;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); grid-auto-rows: minmax(400px, 1fr);
  min-height: 0; }
.scroll-button { display: none; }  /* it would take a place of its own in the grid */
"""
LINE = {"alignItems": "center", "paddingRight": "12px", "minHeight": "34px"}
CARD = {
    "backgroundColor": "var(--dt-surface)",
    "border": "1px solid var(--dt-border)",
    "borderRadius": "8px",
    "overflow": "hidden",
    "minHeight": 0,
}


def key_of(view: type[View]) -> str:
    """Return the name of a view in links."""
    return view.title.lower().replace(" ", "-")


class Viewer(pn.viewable.Viewer):
    """Shows one run. A Panel app takes it as it is; the served page is made of its parts."""

    views: param.List[list[str]] = param.List(default=[], item_type=str, doc="Names of the open views, in their order.")

    def __init__(
        self,
        run: Run,
        selection: Selection | None = None,
        *,
        theme: str = "light",
        views: Sequence[str] | None = None,
        find: Find | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.session = Session(run, selection, find, theme=theme)
        self.live = Live(self.session)
        self.found = {key_of(view): view for view in find_views()}
        self._cards: dict[str, tuple[View, Any]] = {}
        self._overview: Overview | None = None
        self._window = WindowBox(self.session.axes)
        self.banner = Banner(self.live)
        self.crumbs = Crumbs(self.session)
        self.follow = Follow(self.session, self.live)
        self.compare = CompareButton(self.session.selection)
        self.help = KeyHelp()
        self._grid = pn.Column(stylesheets=[GRID], sizing_mode="stretch_both", margin=0, css_classes=["views"])
        self._strip = pn.Column(sizing_mode="stretch_width", margin=0, min_height=0)
        chosen = list(self.found)[:OPEN_AT_FIRST] if views is None else views
        self.views = [name for name in self.found if name in chosen]
        self.header = Header(self)
        self._watchers = [
            (self, self.param.watch(lambda event: self._arrange(), ["views"])),
            (run, run.param.watch(lambda event: on_page(self._renew), ["version"])),
            (self.session, self.session.param.watch(lambda event: self._restyle(), ["theme"])),
            (self.session.compared, self.session.compared.param.watch(self._compared, ["version"])),
            (self.session.selection, self.session.selection.param.watch(self._compared, ["difference"])),
        ]
        self._shown = False

    @property
    def body(self) -> pn.Column:
        """Everything below the header, built when it is first asked for."""
        if not self._shown:
            self._shown = True
            self._show()
        parts = (self.crumbs.row, self.compare.button, self.follow.button, self.help.button)
        line = pmui.Row(*parts, sizing_mode="stretch_width", margin=0, sx=LINE)
        whole = (self.banner.row, self._strip, line, self._grid, self.help.dialog)
        return pn.Column(*whole, sizing_mode="stretch_both", margin=0)

    def close(self) -> None:
        """Let go of the run: the page or the notebook cell is gone."""
        self.live.stop()
        for part in (self.banner, self.crumbs, self.compare, self.follow):
            part.close()
        for view, _ in self._cards.values():
            view.close()
        for owner, watcher in self._watchers:
            owner.param.unwatch(watcher)
        self._watchers = []
        self.session.close()

    def _show(self) -> None:
        run = self.session.run
        if run.iterations == (0, 0):
            self._strip[:] = []
            self._grid[:] = [_too_early(run)]
            return
        self._draw_strip()
        self._arrange()

    def _draw_strip(self) -> None:
        try:
            self._overview = Overview(self.session, self._window)
            self._strip[:] = [self._overview]
        except Exception as error:  # noqa: BLE001 - the views below may well work
            self._strip[:] = [failure("The timeline of the whole run", error)]

    def _arrange(self) -> None:
        """Open and close views until those that should be open are."""
        if not self._shown or self.session.run.iterations == (0, 0):
            return
        for name in [name for name in self._cards if name not in self.views]:
            view, _ = self._cards.pop(name)
            view.close()
        for name in self.views:
            if name in self.found and name not in self._cards:
                self._cards[name] = self._card(name)
        cards = [self._cards[name][1] for name in self.found if name in self._cards]
        with sent_in_order():
            self._grid[:] = cards or [notice("No view is open", "Open one with the buttons at the top of the page.")]

    def _card(self, name: str) -> tuple[View, Any]:
        kind = self.found[name]
        view = kind(self.session)
        close = pmui.IconButton(
            icon="close",
            size="small",
            margin=0,
            align="center",
            icon_size="16px",
            color="secondary",
            description=f"Close {kind.title}",
            on_click=lambda event: on_page(lambda: self._close_view(name)),
        )
        words = pmui.Row(
            pmui.Typography(
                kind.title, margin=0, align="center", sx={"fontSize": "14px", "fontWeight": 600, "whiteSpace": "nowrap"}
            ),
            pmui.Typography(
                kind.description,
                margin=0,
                align="center",
                sx={
                    "fontSize": "12px",
                    "color": "text.secondary",
                    "whiteSpace": "nowrap",
                    "overflow": "hidden",
                    "textOverflow": "ellipsis",
                },
            ),
            pn.Spacer(sizing_mode="stretch_width"),
            close,
            sizing_mode="stretch_width",
            height=36,
            margin=0,
            sx={"alignItems": "center", "gap": "10px", "paddingLeft": "14px", "paddingRight": "6px"},
        )
        card = pmui.Paper(
            words,
            view.__panel__(),
            elevation=0,
            sizing_mode="stretch_both",
            margin=0,
            css_classes=["view", f"view-{name}"],
            sx=CARD,
        )
        return view, card

    def _close_view(self, name: str) -> None:
        self.views = [one for one in self.views if one != name]

    def _renew(self) -> None:
        """Take over what the run has new."""
        if not self._shown:
            return
        if self._overview is None:
            self._show()
            return
        try:
            if self._overview.outgrown():
                self._draw_strip()
            else:
                self._overview.update()
        except Exception as error:  # noqa: BLE001 - a live run that turns bad must not take the page down
            self._strip[:] = [failure("The timeline of the whole run", error)]

    def _compared(self, *events: Any) -> None:
        on_page(self._renew)

    def _restyle(self) -> None:
        if self._overview is not None:
            on_page(self._overview.restyle)

    def __panel__(self) -> Any:
        theme = THEMES[self.session.theme]
        self.live.start()
        return pmui.Column(
            self.header.row,
            self.body,
            sizing_mode="stretch_width",
            height=HEIGHT,
            margin=0,
            stylesheets=[variables(theme)],
            styles={"fontFamily": FONT},
            theme_config=material_both(),
            dark_theme=theme.name == "dark",
            sx={"backgroundColor": "var(--dt-page)", "border": "1px solid var(--dt-border)"},
        )


def _too_early(run: Run) -> Any:
    if run.state == "recording":
        return notice(
            "Nothing recorded yet",
            "The training has begun, but has not committed its first iterations. The page shows them by itself "
            "as soon as they are there; nothing needs to be done.",
        )
    return notice(
        "This run is empty",
        "Its recorder ended before the first iteration was committed. Train again, and if the training fails early, "
        "look into its own output.",
    )
