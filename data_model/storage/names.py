"""Names of files within a run: whatever could point outside of it is refused."""

from __future__ import annotations

ROOT = "zarr.json"
"""The one file that says what is committed."""


def check_name(name: str) -> str:
    """Return the name of a file of a run; ValueError where it leaves the run or is none."""
    if "\0" in name or "\\" in name or not set(name.split("/")).isdisjoint(("", ".", "..")):
        raise ValueError(f"{name!r} is no name of a file of a run")
    return name
