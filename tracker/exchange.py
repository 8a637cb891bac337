"""What ranks tell each other while they train, through the store of their process group.

Nothing here is a collective operation, so nothing can get between those of the training, and a rank that gives up
leaves a word instead of silence. Messages are small: sums and samples, a few hundred bytes for each layer.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker import ranks

FAILED = "failed"
"""The one array that a rank sends instead of all others when it has failed: the reason."""

Arrays = Mapping[str, NDArray[Any]]


class Exchange:
    """Messages between the ranks that record one run: `said` by the first one to all, `sent` by each to the first."""

    def __init__(self, announcement: ranks.Announcement, patience: timedelta = ranks.PATIENCE) -> None:
        """Use the announcement that every rank has made or heard; without a message, give up after `patience`."""
        self._store, self._patience = announcement.store(), patience

    def say(self, key: str, values: Mapping[str, Any]) -> None:
        """Tell every rank; on the first one."""
        self._store.set(key, json.dumps(dict(values)))

    def hear(self, key: str) -> dict[str, Any]:
        """Return what the first rank said; RecordingError when it stays silent."""
        heard: dict[str, Any] = json.loads(self._get(key, "rank 0"))
        return heard

    def send(self, key: str, arrays: Arrays) -> None:
        """Send arrays to the first rank, without waiting for it."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **dict(arrays))
        self._store.set(f"{key}/{ranks.rank()}", file.getvalue())

    def receive(self, key: str) -> list[dict[str, NDArray[Any]]]:
        """Return what every other rank has sent under a key; RecordingError when one has failed or stays silent."""
        received = []
        for rank in range(1, ranks.world_size()):
            name = f"{key}/{rank}"
            with np.load(io.BytesIO(self._get(name, f"rank {rank}")), allow_pickle=False) as file:
                received.append(dict(file))
            self._store.delete_key(name)
            if FAILED in received[-1]:
                raise RecordingError(f"Rank {rank} could not measure its shards: {received[-1][FAILED]}")
        return received

    def _get(self, key: str, sender: str) -> bytes:
        try:
            self._store.wait([key], self._patience)
            data: bytes = self._store.get(key)
        except RuntimeError as error:
            raise RecordingError(
                f"Rank {ranks.rank()} has waited for {sender} in vain: where weights are sharded, every rank makes its "
                "recorder and takes the same steps and snapshots."
            ) from error
        return data
