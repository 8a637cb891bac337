"""Checksums of what lies outside of zarr's own: the root, which says what is committed, and pieces of the tail.

The root carries in its attributes the SHA-256 of its own text with the value of `checksum` left empty. The text is JSON
with sorted keys and without spaces, so that a root which a tool has laid out otherwise can still be checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import google_crc32c

KEY = "checksum"


def crc32c(content: bytes) -> int:
    """Return the CRC-32C of some bytes, the checksum that zarr's `crc32c` codec puts behind a chunk."""
    return int(google_crc32c.value(content))


class Checksum:
    """The CRC-32C of bytes that come in parts."""

    def __init__(self) -> None:
        self.value = 0

    def over(self, part: bytes) -> bytes:
        """Take one more part into account, and return it."""
        self.value = int(google_crc32c.extend(self.value, part))
        return part


def sealed(root: Mapping[str, Any]) -> bytes:
    """Return the text of a root with its checksum in the attributes."""
    text = _canonical(root)
    return _with(text, "", hashlib.sha256(text).hexdigest())


def check_seal(content: bytes, root: Mapping[str, Any]) -> None:
    """Raise ValueError unless a root, as text and as what the text says, has the checksum that it carries."""
    said = root["attributes"].get(KEY)
    if not isinstance(said, str):
        raise ValueError("it lacks its checksum")
    # As it was written, nearly always; and as it says, where somebody has laid it out anew.
    for text in (lambda: _with(content, said, ""), lambda: _canonical(root)):
        if hashlib.sha256(text()).hexdigest() == said:
            return
    raise ValueError("it does not match its checksum")


def _canonical(root: Mapping[str, Any]) -> bytes:
    emptied = {**root, "attributes": {**root["attributes"], KEY: ""}}
    return json.dumps(emptied, sort_keys=True, separators=(",", ":")).encode()


def _with(text: bytes, before: str, after: str) -> bytes:
    """Exchange the checksum's value; keys are sorted, so its own comes before any that a note may have."""
    return text.replace(f'"{KEY}":"{before}"'.encode(), f'"{KEY}":"{after}"'.encode(), 1)
