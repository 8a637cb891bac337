"""Scripts and styles of our own browser components, kept as files of their own."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "assets"


def asset(name: str) -> str:
    """Return the text of a file in the package's `assets` folder."""
    return (FOLDER / name).read_text(encoding="utf-8")
