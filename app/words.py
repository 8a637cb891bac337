"""Numbers as people say them."""

from __future__ import annotations


def ago(seconds: float) -> str:
    """Return a time span: `3 s`, `12 min`, `5 h`, `8 days`."""
    seconds = max(0.0, seconds)
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 36)):
        if seconds < size * limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def size_words(size: int) -> str:
    """Return bytes: `512 B`, `3.4 MB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
