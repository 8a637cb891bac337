"""Requests that zarr has still under way: where one of several fails, it says so and does not wait for the others."""

from __future__ import annotations

import asyncio

from zarr.core.sync import sync

_PATIENCE = 60.0
"""Seconds to wait at most: a server may never answer."""


def wait_for_stragglers() -> None:
    """Wait until zarr has nothing under way in this process: a write must not come after what is done about a failure.

    Not to be called from within zarr's own loop.
    """
    sync(_others())


async def _others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if others:
        await asyncio.wait(others, timeout=_PATIENCE)
