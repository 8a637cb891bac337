"""What was found in finished runs, kept once for all sessions of the process: twenty visitors cause one search."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Place(Generic[T]):
    """Where one result is kept; its lock is held while it is looked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.found: T | None = None


class Shared(Generic[T]):
    """Keeps the `most` results that were asked for last."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._places: OrderedDict[Hashable, _Place[T]] = OrderedDict()

    def get(self, key: Hashable, look: Callable[[], T], worth: Callable[[T], bool]) -> T:
        """Return the result kept under a key, or look for it while others that ask for it wait.

        Only what is `worth` it is kept: after a failure the next one looks again.
        """
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > self._most:
                self._places.popitem(last=False)
        with place.lock:
            if place.found is not None:
                return place.found
            found = look()
            if worth(found):
                place.found = found
            return found
