"""Work that can wait until the page is on screen: what a visitor sees first must not wait for all that comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import panel as pn

T = TypeVar("T")


def has_browser() -> bool:
    """Return whether this is for a page: not a notebook, an export or a script."""
    document = pn.state.curdoc
    return document is not None and document.session_context is not None


def once_shown(callback: Callable[[], None]) -> None:
    """Call back when the page is in the browser, one callback after the other so that each shows what it made.

    At once where there is no page to wait for: in a notebook, an export or a script.
    """
    document = pn.state.curdoc
    if document is None or not has_browser():
        callback()
        return

    def schedule() -> None:
        document.add_next_tick_callback(in_order(callback))

    pn.state.onload(schedule)


@contextmanager
def sent_in_order() -> Iterator[None]:
    """Tell the browser of all that changes in this block when it ends, in the order it changed.

    Of what changes while new parts are added, Panel writes some on its own, when the connection is free, and Bokeh the
    rest when the callback ends: a browser can so hear of a part before it got it, and then gives up on it. Bokeh's own
    hold keeps all of it for Bokeh, one change after the other: combined, a change could come before the part it is of.
    What belongs together therefore belongs in one block: between two of them Panel writes on its own again. Outside of
    Bokeh's callbacks nothing is held.
    """
    document = pn.state.curdoc
    if document is None or document.callbacks.hold_value or not _in_callback(document):
        yield
        return
    document.hold("collect")
    try:
        yield
    finally:
        document.unhold()


def in_order(callback: Callable[..., T]) -> Callable[..., T]:
    """Return the callback so that all it changes is sent in order, for what Bokeh or a timer calls.

    What a widget calls comes on a thread of its own, where nothing can be held: it needs `on_page`.
    """

    @wraps(callback)
    def held(*arguments: Any, **keywords: Any) -> T:
        with sent_in_order():
            return callback(*arguments, **keywords)

    return held


def on_page(callback: Callable[[], Any]) -> None:
    """Call back on the thread that may change the page, at once if this is it; all it changes is sent in order."""
    pn.state.execute(in_order(callback))


def _in_callback(document: Any) -> bool:
    """Whether this is a callback of this document, at whose end Bokeh writes: else it cannot be told of changes."""
    if pn.state._thread_id not in (None, threading.get_ident()):
        return False
    session = getattr(document.session_context, "session", None)
    return getattr(session, "_pending_writes", None) is not None
