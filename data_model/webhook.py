"""Posts alerts as JSON to a web address: bounded in time and tries, and telling nobody the address's secret parts."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from deeptracker.data_model.errors import AlertError

SCHEMES = ("http", "https")
_WORTH_ANOTHER_TRY = (408, 425, 429)


class Webhook:
    """POSTs each alert to `url` as JSON (the alert's fields, and `text`, which chat services show).

    One try takes at most `timeout` seconds; after a failure that may pass (no connection, status 408, 425, 429 or 5xx)
    it tries `retries` times more, after `pause`, twice, four times ... as long. Redirects are not followed. Messages
    name the host only: the path of a webhook is often its password. Raises AlertError for an address it cannot take.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, retries: int = 3, pause: float = 1.0) -> None:
        """Take the address and the bounds; nothing is sent yet."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise AlertError(
                f"A webhook is an http:// or https:// address; one with {parts.scheme or 'no'}: was given."
            )
        if parts.username is not None or parts.password is not None:
            raise AlertError(
                f"The webhook at {parts.hostname} has a name or password before its host; that is not sent."
            )
        if timeout <= 0 or retries < 0 or pause < 0:
            raise AlertError(
                f"A webhook needs timeout > 0, retries and pause >= 0; {timeout}, {retries}, {pause} given."
            )
        self._url, self._timeout, self._retries, self._pause = url, timeout, retries, pause
        self.name = f"webhook at {parts.hostname}"
        self._opener = urllib.request.OpenerDirector()
        handlers = (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler)
        for handler in handlers:
            self._opener.add_handler(handler())

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __call__(self, alert: Mapping[str, Any]) -> None:
        """Post an alert; AlertError, without the address, when it was not taken."""
        body = json.dumps({**alert, "text": alert.get("message", "")}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "deeptracker"}
        request = urllib.request.Request(self._url, body, headers, method="POST")
        reason = ""
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            reason, again = self._post(request)
            if not reason:
                return
            if not again:
                break
        raise AlertError(f"The {self.name} did not take an alert: {reason}.")

    def _post(self, request: urllib.request.Request) -> tuple[str, bool]:
        """Return why it failed, empty where it did not, and whether another try is worth it."""
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                status = int(answer.status)
        except (OSError, urllib.error.URLError, ValueError) as error:
            cause = getattr(error, "reason", error)
            return f"{type(cause).__name__}", True
        if 200 <= status < 300:
            return "", False
        if 300 <= status < 400:
            return f"it redirects (status {status}), which is not followed; give the address it leads to", False
        return f"status {status}", status >= 500 or status in _WORTH_ANOTHER_TRY
