"""Work that can wait until the page is on screen: what a visitor sees first must not wait for all that comes."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn


def once_shown(callback: Callable[[], None]) -> None:
    """Call back when the page is in the browser, one callback after the other so that each shows what it made.

    At once where there is no page to wait for: in a notebook, an export or a script.
    """
    document = pn.state.curdoc
    if document is None or document.session_context is None:
        callback()
        return

    def schedule() -> None:
        document.add_next_tick_callback(callback)

    pn.state.onload(schedule)
