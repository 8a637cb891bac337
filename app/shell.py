"""The page around the views as the browser knows it: keys that work anywhere, the address, the back button."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

import panel as pn
import param
from panel.custom import JSComponent

from deeptracker.app import urls
from deeptracker.app.assets import asset
from deeptracker.app.history import state_of
from deeptracker.app.later import on_page
from deeptracker.app.viewer import Viewer
from deeptracker.data_model.selection import Selection

DELAY = 300
"""Milliseconds from a change to the address that tells of it."""
STYLE = ":host { position: absolute; width: 0; height: 0; overflow: hidden; }"


class Shell(JSComponent):
    """Keeps the browser's address telling what is on screen, and does what is asked by key or by the back button.

    `place` holds the `query` of the address, and whether it is a new page to go back to (`push`): one for every step
    of the history, so that the back button takes back one gesture and not one redraw. `visit` counts how often the
    browser went to another page itself, so that what is said of one page is not written to the next.
    """

    place: param.Dict[dict[str, Any]] = param.Dict(default={}, doc="Query of the address; whether to push it.")

    _esm = asset("shell.js")
    _stylesheets: ClassVar[list[str]] = [STYLE]

    def __init__(self, viewer: Viewer, path: str, **params: Any) -> None:
        super().__init__(width=0, height=0, margin=0, **params)
        self.viewer, self.path = viewer, path
        session, history = viewer.session, viewer.session.history
        self._document = pn.state.curdoc
        self._waiting = False
        self._pushed, self._visit = history.made, 0
        selection = session.selection
        selection.param.watch(self._changed, [name for name in selection.param if name not in ("name", "cursor")])
        session.param.watch(self._changed, ["theme"])
        viewer.param.watch(self._changed, ["views"])

    def write(self) -> None:
        """Tell the browser its address."""
        self._waiting = False
        session = self.viewer.session
        query = urls.encode(session.selection, session.theme, self.viewer.views)
        made = session.history.made
        full = f"?path={quote(self.path, safe='/')}&{query}"
        self.place = {"query": full, "push": made > self._pushed, "visit": self._visit}
        self._pushed = made

    def act(self, kind: str, query: str = "", visit: int = 0) -> None:
        """Do what the browser asks for: undo, redo, help, or to show an address it went to."""
        history = self.viewer.session.history
        if kind == "undo":
            history.undo()
        elif kind == "redo":
            history.redo()
        elif kind == "help":
            self.viewer.help.show()
        elif kind == "went":
            wanted = Selection()
            urls.apply(urls.decode(query), wanted, self.viewer.session.run)
            history.show(state_of(wanted))
            self._pushed, self._visit = history.made, visit  # the browser is there already

    def _changed(self, *events: Any) -> None:
        if not self._waiting and self._document is not None:
            self._waiting = True
            self._document.add_timeout_callback(self.write, DELAY)

    def _handle_msg(self, data: dict[str, Any]) -> None:
        # Messages arrive on a thread of their own; only the page's thread may change the page.
        on_page(lambda: self.act(str(data.get("kind")), str(data.get("query", "")), int(data.get("visit", 0))))
