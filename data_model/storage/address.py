"""URLs of runs: what each part means, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from deeptracker.data_model.errors import NotARunError

CLOUDS = {"s3": "bucket", "gs": "bucket", "az": "container", "memory": "name"}
"""What the first part of a URL names, for each scheme that holds runs by name."""
WEB = ("http", "https")

_REFUSED = re.compile(r"[\x00-\x1f\x7f\\#?*%]")
_ENCODED = re.compile(r"%(?:2e|2f|5c|25|23|3f|[01][0-9a-f]|7f)", re.IGNORECASE)
_USER = re.compile(r"//[^/@]*@")


@dataclass(frozen=True)
class Address:
    """Where a run lies: scheme, bucket (or host), and the way from there, without `/` at either end."""

    scheme: str
    bucket: str
    way: str

    @property
    def url(self) -> str:
        """The address as text."""
        return f"{self.scheme}://{self.bucket}/{self.way}".rstrip("/")

    @property
    def web(self) -> bool:
        """Whether it is on a web server, which can only be read."""
        return self.scheme in WEB

    @property
    def name(self) -> str:
        """The last part."""
        return unquote(self.way.rpartition("/")[2]) or self.bucket

    @property
    def prefix(self) -> str:
        """What the names of the run's files begin with."""
        way = unquote(self.way) if self.web else self.way
        return f"{way}/" if way else ""

    def within(self, folder: str) -> Address:
        """Return the address of a folder below."""
        return Address(self.scheme, self.bucket, f"{self.way}/{folder}".strip("/"))


def parse_url(url: str) -> Address:
    """Take a URL apart. Raises NotARunError where it could be misread, or holds what belongs into the environment."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in (*CLOUDS, *WEB):
        known = ", ".join(f"{one}://" for one in (*CLOUDS, *WEB, "file"))
        raise NotARunError(
            f"{_shown(url)} is at {scheme}://, where runs cannot be; they can be in a folder or at {known}."
        )
    bucket, _, way = rest.partition("/")
    if "@" in bucket:
        raise NotARunError(
            f"{_shown(url)} has a user or a password in it. Leave it out: credentials go where the "
            "provider's own tools look for them, so that they end up in no log and no file."
        )
    odd = (_ENCODED if scheme in WEB else _REFUSED).search(rest) or (
        scheme in WEB and re.search(r"[\x00-\x20\\#?]", rest)
    )
    if odd:
        raise NotARunError(f"{_shown(url)} has {odd.group()!r} in it, which no name of a run may have.")
    way = way.rstrip("/")
    parts = way.split("/") if way else []
    if not bucket or not {"", ".", ".."}.isdisjoint(parts):
        wanted = CLOUDS.get(scheme, "host")
        raise NotARunError(f"{_shown(url)} is no place of a run; give {scheme}://{wanted}/folder/of/the/run.")
    return Address(scheme, bucket, way)


def _shown(url: str) -> str:
    """Return a URL as it may be told: without a user, and without what a signed link ends with."""
    return _USER.sub("//", url).partition("?")[0]
