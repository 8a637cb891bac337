"""The runs below a place in a bucket, found by listing it folder by folder."""

from __future__ import annotations

from concurrent.futures import Executor

from deeptracker.data_model.storage import ROOT, Storage

MOST_LISTED = 2_000
"""Folders listed in one search: each is a request to the store."""


def find_stored(root: Storage, depth: int, threads: Executor) -> list[Storage]:
    """Return the places at or below `root` that look like runs, in the order of their URLs.

    A web server does not list what it has: there only `root` itself can be found. Raises RunAccessError where the
    store refuses or does not answer.
    """
    if root.url.startswith("http"):
        return [root] if root.exists(ROOT) else []
    found: list[Storage] = []
    level, listed = [root], 0
    for _ in range(depth + 1):
        level = level[: MOST_LISTED - listed]
        listed += len(level)
        below: list[Storage] = []
        for folder, entries in zip(level, threads.map(lambda one: one.entries(), level), strict=True):
            if ROOT in entries:
                found.append(folder)
            else:
                below += [folder.within(name.rstrip("/")) for name in entries if _visible(name)]
        level = below
    return sorted(found, key=lambda one: one.url)


def _visible(name: str) -> bool:
    return name.endswith("/") and not name.startswith(".") and name != "/"
