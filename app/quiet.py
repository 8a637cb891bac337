"""Keeps the terminal free of what Bokeh reports although nothing is wrong: when a browser leaves, or says too much."""

from __future__ import annotations

import logging
import traceback
import warnings

from bokeh.util.warnings import BokehUserWarning
from tornado.websocket import WebSocketClosedError

LOGGERS = (
    "panel.io.document",
    "bokeh.server.views.ws",
    "bokeh.server.protocol_handler",
    "tornado.application",
    "tornado.general",
    "asyncio",
)
_CLOSED = "connection was closed"
_DISCARDED = "error: AssertionError()"  # Bokeh asserts that a connection still has its session when a patch arrives


class BrowserLeft(logging.Filter):
    """Drops records that say nothing but that a browser tab was closed or reloaded."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is worth a person's attention."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, WebSocketClosedError) or (isinstance(error, AssertionError) and _raised_by_bokeh(error)):
            return False
        said = record.getMessage()
        return not (_CLOSED in said or said.rstrip().endswith(_DISCARDED))


def _raised_by_bokeh(error: BaseException) -> bool:
    """Whether it is Bokeh's assertion that a connection still has its session."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.endswith("connection.py") and frames[-1].name == "session"


def hush() -> None:
    """Drop such records from now on; safe to call again."""
    # In its first message after new parts came a browser describes them again; what the server knows already stays.
    warnings.filterwarnings("ignore", "reference already known", BokehUserWarning)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, BrowserLeft) for one in logger.filters):
            logger.addFilter(BrowserLeft())
