"""Datashader compiles what it draws with when it is first used, for seconds: beside the page, not in its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from deeptracker.app import event_raster, line_density
from deeptracker.app.later import in_order
from deeptracker.data_model.correlation import Occurrences

_done = threading.Event()
_one_at_a_time = threading.Lock()


def compile_now() -> None:
    """Compile what lines and points are drawn with, once per process."""
    with _one_at_a_time:
        if not _done.is_set():
            line_density.warm()
            one = np.zeros(1, np.int64)
            event_raster.raster(Occurrences(one, one, one), np.zeros(1), 1, (0, 1), (0, 1), (2, 2))
            _done.set()


def ready(document: Any, then: Callable[[], None]) -> bool:
    """Return whether all is compiled; if not, begin, and call `then` on the document's thread when it is.

    Without a document nothing waits: it is compiled when it is drawn.
    """
    if document is None or _done.is_set():
        return True

    def compile_apart() -> None:
        compile_now()
        document.add_next_tick_callback(in_order(then))

    threading.Thread(target=compile_apart, name="datashader", daemon=True).start()
    return False
