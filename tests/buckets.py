"""A bucket on a real server that speaks S3, in a process of its own on this machine."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

SECRET = "a-secret-that-belongs-nowhere"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
START_SECONDS = 120.0

_numbers = itertools.count()


class S3Server:
    """moto's server; its buckets live in its memory, and end with it."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the server stops
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )
        self.endpoint = self._address()

    def _address(self) -> str:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            time.sleep(0.1)
            self._said.seek(0)
            found = re.search(r"http://127\.0\.0\.1:\d+(?=\s)", said := self._said.read())
            if found:
                return found.group()
        self._process.kill()
        raise RuntimeError(f"moto's server does not start: {said}")

    def environment(self) -> dict[str, str]:
        """Return the variables by which any S3 client finds the server."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    def bucket(self) -> str:
        """Make a bucket of its own; return its URL."""
        name = f"bucket{next(_numbers)}"
        # moto checks no signatures.
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")).close()
        return f"s3://{name}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()
