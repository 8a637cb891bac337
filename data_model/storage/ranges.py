"""Parts of a file that lie near each other are fetched as one: a round trip costs more than some bytes too many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

NEAR = 256 << 10
"""Bytes that pass in about the time of a round trip."""

Range = tuple[int, int]
"""Start and length, in bytes."""


def join_near(ranges: Sequence[Range], near: int = NEAR) -> list[Range]:
    """Return as few ranges as cover all of them, leaving out gaps of more than `near` bytes; sorted."""
    joined: list[Range] = []
    for start, length in sorted(ranges):
        stop = start + length
        if joined and start <= sum(joined[-1]) + near:
            first = joined[-1][0]
            joined[-1] = (first, max(sum(joined[-1]), stop) - first)
        else:
            joined.append((start, length))
    return joined


def cut(spans: Sequence[Range], contents: Sequence[bytes], ranges: Sequence[Range]) -> list[bytes]:
    """Return each range out of the contents of the spans that cover them."""
    starts = [start for start, _ in spans]
    parts = []
    for start, length in ranges:
        number = bisect_right(starts, start) - 1
        inner = start - starts[number] if length > 0 else 0
        parts.append(contents[number][inner : inner + length] if length > 0 else b"")
    return parts
