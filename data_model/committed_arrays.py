"""The zarr arrays of one commit, made from the metadata that its root holds: opening them asks the disk nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zarr
from zarr.storage import StorePath

from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.presence import Presence, Widths
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.strict_store import StrictStore


class CommittedArrays:
    """Arrays by path, made when they are first asked for."""

    def __init__(self, storage: Storage, nodes: Mapping[str, Any], widths: Widths) -> None:
        """Take the metadata of every group and array by its path, and how wide those that grew have been."""
        self._storage, self._nodes = storage, nodes
        self._store = StrictStore(storage.array_store(read_only=True), Presence(nodes, widths), str(storage))
        self._known: dict[str, zarr.Array[Any]] = {}

    def __contains__(self, path: str) -> bool:
        """Whether the commit names such a group or array."""
        return path in self._nodes

    def __getitem__(self, path: str) -> zarr.Array[Any]:
        """Return an array; RunFormatError where the commit has none of that path, or none that zarr understands."""
        if path not in self._known:
            self._known[path] = self._open(path)
        return self._known[path]

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
