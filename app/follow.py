"""The button by which the page stays with the newest iterations of a run that is being recorded, or does not."""

from __future__ import annotations

from typing import Any

import panel_material_ui as pmui

from deeptracker.app.later import on_page
from deeptracker.app.live import Live
from deeptracker.app.session import Session


class Follow:
    """Shown while the run is being recorded; `button` is pressed while what is on screen moves along with it."""

    def __init__(self, session: Session, live: Live) -> None:
        self.session, self.live = session, live
        self.button: Any = pmui.Button(
            label="Follow",
            icon="keyboard_tab",
            size="small",
            margin=0,
            align="center",
            height=26,
            visible=False,
            css_classes=["follow"],
            on_click=lambda event: on_page(self._pressed),
            sx={"fontSize": "12px", "padding": "0 8px", "minHeight": 0, "whiteSpace": "nowrap", "flex": "none"},
        )
        self._watchers = [
            (owner, owner.param.watch(lambda *events: on_page(self.update), names))
            for owner, names in ((session.selection, ["window", "follow"]), (live, ["freshness"]))
        ]
        self.update()

    @property
    def following(self) -> bool:
        """Whether what is on screen moves along."""
        return bool(self.session.selection.follow) and self.session.axes.at_newest

    def update(self) -> None:
        """Show what pressing it would do."""
        following = self.following
        words = (
            "The page stays with the newest iterations. Press to keep it where it is."
            if following
            else "Bring the newest iterations on screen, and stay with them."
        )
        self.button.param.update(
            visible=self.live.freshness.state in ("recording", "waiting"),
            label="Following" if following else "Follow",
            variant="contained" if following else "outlined",
            description=words,
        )

    def close(self) -> None:
        """Stop watching."""
        for owner, watcher in self._watchers:
            owner.param.unwatch(watcher)
        self._watchers = []

    def _pressed(self) -> None:
        if self.following:
            self.session.selection.follow = False
        else:
            self.session.axes.to_newest()
