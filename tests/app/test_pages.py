"""Pages of different visitors have nothing to do with each other."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from panel.io.state import state

from deeptracker.app.library import Library
from deeptracker.app.pages import Pages


def test_a_page_does_not_hear_of_what_the_server_does_for_others(tmp_path: Path) -> None:
    page = Pages(Library([tmp_path]))._page(None)
    changes: list[object] = []
    page.param.watch(changes.append, ["busy"])
    state._add_busy_event("of another visitor")
    try:
        assert state.busy
        assert not page.busy
    finally:
        state._remove_busy_event("of another visitor")
    assert changes == []


def test_a_page_that_nobody_looks_at_is_let_go_of(tmp_path: Path) -> None:
    page = weakref.ref(Pages(Library([tmp_path]))._page(None))
    gc.collect()
    assert page() is None
