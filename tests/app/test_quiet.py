"""What Bokeh reports although nothing is wrong is kept from the terminal; everything else is not."""

from __future__ import annotations

import logging
import warnings
from unittest import mock

import pytest
from bokeh.server.connection import ServerConnection
from bokeh.util.warnings import BokehUserWarning, warn
from tornado.websocket import WebSocketClosedError

from deeptracker.app.quiet import hush


def test_only_a_browser_that_left_is_kept_quiet(caplog: pytest.LogCaptureFixture) -> None:
    hush()
    handler = logging.getLogger("bokeh.server.protocol_handler")
    handler.error("error handling message\n message: %r \n error: %r", "PATCH-DOC", AssertionError())
    logging.getLogger("bokeh.server.views.ws").warning("Failed sending message as connection was closed")
    try:
        raise WebSocketClosedError
    except WebSocketClosedError:
        logging.getLogger("tornado.application").exception("Exception in callback")
    try:
        ServerConnection.session.fget(mock.Mock(_session=None))  # type: ignore[attr-defined]
    except AssertionError:
        logging.getLogger("tornado.application").exception("Uncaught exception GET /run/ws")
    assert caplog.records == []
    handler.error("error handling message\n message: %r \n error: %r", "PATCH-DOC", ValueError("real"))
    assert "real" in caplog.text


def test_only_what_a_browser_repeats_is_not_warned_of() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hush()
        warn("reference already known 'p1'", BokehUserWarning)
        warn("something else", BokehUserWarning)
    assert [str(one.message) for one in caught] == ["something else"]
