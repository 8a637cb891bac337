"""A webhook against a real server on this machine that takes, refuses, redirects and keeps silent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deeptracker.data_model.errors import AlertError
from deeptracker.data_model.webhook import Webhook

ALERT = {"run": "r", "message": "layer fc stopped changing", "start": 7}
SECRET = "T0P-SECRET"


class Server(ThreadingHTTPServer):
    """Answers with the next of `answers`, a status each; `hang` holds every answer back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.got: list[tuple[str, str, dict[str, object]]] = []
        self.hang = threading.Event()
        self.target = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/{SECRET}?token={SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        if self.server.hang.is_set():
            time.sleep(1)
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", self.server.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        raise AssertionError("a redirect was followed")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_alert_is_posted_as_json(server: Server) -> None:
    Webhook(server.url)(ALERT)
    ((path, kind, body),) = server.got
    assert path.endswith(f"token={SECRET}")
    assert kind == "application/json"
    assert body == {**ALERT, "text": ALERT["message"]}


def test_what_may_pass_is_tried_again_and_no_more_often_than_allowed(server: Server) -> None:
    server.answers = [503, 429]
    Webhook(server.url, pause=0)(ALERT)
    assert len(server.got) == 3
    server.answers = [500] * 9
    with pytest.raises(AlertError, match="status 500"):
        Webhook(server.url, pause=0, retries=2)(ALERT)
    assert len(server.got) == 6


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_is_not_tried_again(server: Server, status: int) -> None:
    server.answers = [status]
    with pytest.raises(AlertError, match=f"status {status}"):
        Webhook(server.url, pause=0)(ALERT)
    assert len(server.got) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "same"])
def test_no_redirect_is_followed(server: Server, target: str) -> None:
    server.answers, server.target = [302], server.url if target == "same" else target
    with pytest.raises(AlertError, match="redirects") as caught:
        Webhook(server.url, pause=0)(ALERT)
    assert len(server.got) == 1
    assert SECRET not in str(caught.value)


def test_a_server_that_keeps_silent_is_given_up_on(server: Server) -> None:
    server.hang.set()
    start = time.monotonic()
    with pytest.raises(AlertError) as caught:
        Webhook(server.url, timeout=0.1, retries=1, pause=0)(ALERT)
    assert time.monotonic() - start < 30
    assert len(server.got) == 2
    assert SECRET not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_nobody_there_is_said_without_the_secret() -> None:
    with pytest.raises(AlertError) as caught:
        Webhook(f"http://127.0.0.1:9/{SECRET}", retries=0)(ALERT)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "host/path", "http:///x", "", f"http://me:{SECRET}@host/"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(AlertError) as caught:
        Webhook(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(Webhook(f"https://host/{SECRET}"))
