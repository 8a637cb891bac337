"""Who records when several processes train one network: the first rank; the others hear from it what they must know.

Follows `torch.distributed` once it is initialised, and before that what `torchrun` says in the environment. What
ranks tell each other at the start goes through the store of the process group, not through a collective operation:
a script that makes its recorder on the first rank only, as people do for other tools, then works and never hangs.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from torch import distributed

from deeptracker.data_model.errors import RecordingError

PATIENCE = timedelta(minutes=5)
"""How long ranks wait for the first one to open its run, or for each other, before they give up."""

_numbers = itertools.count()


def in_group() -> bool:
    """Return whether this process has joined a process group, so that ranks can talk to each other."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Return the number of this process, from 0 on; 0 where there is only one."""
    return distributed.get_rank() if in_group() else _environment("RANK", 0)


def world_size() -> int:
    """Return how many processes train together; 1 where there is only one."""
    return distributed.get_world_size() if in_group() else _environment("WORLD_SIZE", 1)


def is_first() -> bool:
    """Return whether this process is the one that records."""
    return rank() == 0


def gather(value: object) -> list[Any] | None:
    """Return on the first rank what every rank gave, in the order of ranks, and None on the others.

    A collective operation: every rank must call it. Values are pickled. Without a process group there is one rank.
    """
    if not in_group():
        return [value]
    gathered: list[Any] | None = [None] * world_size() if is_first() else None
    distributed.gather_object(value, gathered, dst=0)
    return gathered


def from_first(value: object) -> Any:
    """Return on every rank what the first one gave. A collective operation: every rank must call it."""
    if not in_group():
        return value
    values = [value if is_first() else None]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


class Announcement:
    """What the first rank tells the others once, about one recorder; nobody waits for ranks that do not ask.

    Every rank makes its announcements in the same order: that is how they find each other.
    """

    def __init__(self) -> None:
        """Count one more announcement of this process, if it is in a process group."""
        self._key = f"deeptracker/{next(_numbers)}" if in_group() else ""

    def store(self) -> Any:
        """Return a store of the process group for messages about this recorder; RecordingError without a group."""
        if not self._key:
            raise RecordingError("Sharded weights need the process group that they were sharded in.")
        from torch.distributed.distributed_c10d import PrefixStore

        return PrefixStore(f"{self._key}/", _store())

    def make(self, values: Mapping[str, Any]) -> None:
        """Tell the other ranks; on the first rank."""
        if self._key:
            _store().set(self._key, json.dumps(dict(values)))

    def __enter__(self) -> None:
        """Have an error in the `with` block told to the other ranks, so that none waits in vain."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.make({"error": f"{type(error).__name__}: {error}"})

    def hear(self, patience: timedelta = PATIENCE) -> dict[str, Any]:
        """Return what the first rank told; empty where ranks cannot talk.

        RecordingError when it told of an error, and after a long silence.
        """
        if not self._key:
            return {}
        store = _store()
        try:
            store.wait([self._key], patience)
        except RuntimeError as error:
            raise RecordingError(
                f"Rank {rank()} has waited {patience.total_seconds():.0f} s for the recorder of rank 0: make one on "
                "every rank with the same arguments, or on rank 0 only."
            ) from error
        heard: dict[str, Any] = json.loads(store.get(self._key))
        if "error" in heard:
            raise RecordingError(f"Rank 0 could not open its run, so rank {rank()} stops too. {heard['error']}")
        return heard


def _store() -> Any:
    # The process group has no public way to its store.
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store()


def _environment(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
