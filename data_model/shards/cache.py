"""What a process keeps of the shards it has read: the same for all viewers, within a limit of bytes."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

VARIABLE = "DEEPTRACKER_CACHE_MB"
"""Environment variable: megabytes that the process may keep; 0 keeps nothing."""

_DEFAULT_MB = 256


class ChunkCache:
    """Arrays by key, the ones used longest ago given up first. Safe to use from several threads.

    What is kept never changes: whoever gets an array must not write to it.
    """

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` bytes."""
        self.limit = limit
        self._kept: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return what was kept under a key, if it still is."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, value: NDArray[Any]) -> None:
        """Keep an array, unless it alone is more than may be kept."""
        with self._lock:
            self._forget(key)
            if value.nbytes > self.limit:
                return
            self._kept[key] = value
            self._bytes += value.nbytes
            while self._bytes > self.limit:
                self._forget(next(iter(self._kept)))

    def forget(self, key: Hashable) -> None:
        """Give up what is kept under a key."""
        with self._lock:
            self._forget(key)

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _forget(self, key: Hashable) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= before.nbytes


def limit_from_environment() -> int:
    """Return the bytes that the environment allows; the default where it says nothing that can be understood."""
    try:
        megabytes = float(os.environ.get(VARIABLE, _DEFAULT_MB))
    except ValueError:
        megabytes = _DEFAULT_MB
    return int(max(0.0, megabytes) * 1e6)


CHUNKS = ChunkCache(limit_from_environment())
"""The cache of this process."""
