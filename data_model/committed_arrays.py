"""The zarr arrays of one commit, made from the metadata that its root holds: opening them asks the disk nothing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import zarr
from zarr.storage import StorePath

from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.presence import Presence, Widths
from deeptracker.data_model.shards import CHUNKS, ChunkCache, ReadableArray, ShardLayout, ShardReader, ZarrArray
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.strict_store import StrictStore


class CommittedArrays:
    """Arrays by path, made when they are first asked for."""

    def __init__(
        self,
        storage: Storage,
        nodes: Mapping[str, Any],
        widths: Widths,
        history: Hashable = None,
        cache: ChunkCache = CHUNKS,
    ) -> None:
        """Take the metadata of every group and array by its path, and how wide those that grew have been.

        `history` tells one run from another at the same place, and what was recorded before and after a cut.
        What has been decoded is kept in `cache`.
        """
        self._cache = cache
        self._storage, self._nodes, self._source = storage, nodes, (storage.url, history)
        self._presence = Presence(nodes, widths)
        self._store = StrictStore(storage.array_store(read_only=True), self._presence, str(storage))
        self._known: dict[str, zarr.Array[Any]] = {}
        self._readable: dict[str, ReadableArray] = {}

    def __contains__(self, path: str) -> bool:
        """Whether the commit names such a group or array."""
        return path in self._nodes

    def __getitem__(self, path: str) -> zarr.Array[Any]:
        """Return an array; RunFormatError where the commit has none of that path, or none that zarr understands."""
        if path not in self._known:
            self._known[path] = self._open(path)
        return self._known[path]

    def readable(self, path: str) -> ReadableArray:
        """Return what reads an array; RunFormatError as above."""
        if path not in self._readable:
            node = self._nodes.get(path)
            layout = ShardLayout.of(node) if node else None
            required = partial(self._presence.requires, path)
            known = layout and ShardReader(self._storage, path, layout, self._source, required, self._cache)
            self._readable[path] = known or ZarrArray(self[path])
        return self._readable[path]

    def _open(self, path: str) -> zarr.Array[Any]:
        if path not in self._nodes:
            raise RunFormatError(
                f"{self._storage} has no array {path}, which its root should name. Was the run copied completely?"
            )
        if self._nodes[path]["node_type"] != "array":
            raise RunFormatError(f"{self._storage}/{path} should be an array and is a group.")
        try:
            return zarr.Array.from_dict(StorePath(self._store, path), dict(self._nodes[path]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunFormatError(f"{self._storage}/{path} is an array that zarr cannot open ({error}).") from error
