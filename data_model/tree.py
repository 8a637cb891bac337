"""The groups and arrays of a run being written, and the metadata of them all without asking the disk again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from deeptracker.data_model.compression import compressors
from deeptracker.data_model.node_metadata import METADATA, node_text, opened
from deeptracker.data_model.presence import Grid, Widths, cut, widened
from deeptracker.data_model.shards import Read, ReadableArray, Region, ShardEncoder, ZarrArray
from deeptracker.data_model.storage import Storage

ROOM = 1024
"""Entries of a one-dimensional array's chunk, at least."""


class ArrayTree:
    """Creates and opens the arrays of a run by path (`layers/level_0/value`), and knows what a commit must name."""

    def __init__(self, storage: Storage, committed: Mapping[str, Any], widths: Widths) -> None:
        """Open what the run's root names; whatever else lies on the disk was never committed and is replaced.

        `committed` is the metadata of all nodes by path, as the root holds it; empty for a new run. `widths` are kept
        up to date.
        """
        self._storage, self._widths = storage, widths
        self._root = zarr.open_group(storage.array_store(read_only=False), mode="a", use_consolidated=False)
        self._nodes: dict[str, zarr.Array[Any] | zarr.Group] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path, metadata in committed.items():
            self._nodes[path] = self._reopened(path, metadata)

    def _reopened(self, path: str, metadata: Mapping[str, Any]) -> zarr.Array[Any] | zarr.Group:
        """Open what the root names as the root describes it, whatever its own metadata says.

        That may be ahead of the root, when the writer was killed before a commit, or damaged.
        """
        with zarr.config.set({"array.write_empty_chunks": True}):
            node = opened(self._root.store, path, metadata)
        try:
            beside = self._root[path]
        except (KeyError, ValueError, TypeError, AttributeError):
            beside = None
        if isinstance(beside, zarr.Array) and isinstance(node, zarr.Array) and beside.ndim == node.ndim:
            beside.resize(node.shape)  # and what was never committed goes
        if beside is None or beside.metadata != node.metadata:
            self._storage.write(f"{path}/{METADATA}", node_text(metadata))
        return node

    def __contains__(self, path: str) -> bool:
        """Whether there is such a group or array."""
        return path in self._nodes

    def __getitem__(self, path: str) -> zarr.Array[Any]:
        """Return an array; KeyError where there is none."""
        node = self._nodes[path]
        if not isinstance(node, zarr.Array):
            raise KeyError(path)
        return node

    def readable(self, path: str) -> ReadableArray:
        """Return what reads an array as it is now; KeyError where there is none."""
        return ZarrArray(self[path])

    def resize(self, path: str, shape: tuple[int, ...]) -> zarr.Array[Any]:
        """Give an array another shape, and return it; what lies outside of the new shape is deleted."""
        self._shapes.pop(path, None)
        array = self[path]
        array.resize(shape)
        return array

    def write(self, path: str, region: Region, read: Read, *, thorough: bool = False) -> None:
        """Write a part of an array that begins and ends where shards do, or where the array ends.

        `read` is asked for no more than a chunk at a time; `thorough` as for `ShardEncoder.content`.
        """
        array = self[path]
        encoder = ShardEncoder.of(array.metadata.to_dict())
        if encoder is None:
            array[region] = read(region)  # as any program may lay out an array
            return
        for shard in encoder.shards(region):
            self._storage.write(f"{path}/{encoder.layout.name(shard)}", encoder.content(shard, read, thorough=thorough))

    def widen(self, path: str, shape: tuple[int, ...]) -> None:
        """Give an array room for more entities; nothing is deleted, also where it has fewer records in `shape`.

        A run that was closed and resumed has records there which readers of its last commit still read.
        """
        array = self[path]
        grid = Grid.of({**array.metadata.to_dict(), "shape": self._shapes.get(path, array.shape)})
        if grid.record_axis is not None and grid.shape[grid.entity_axis] < shape[grid.entity_axis]:
            file = grid.file[grid.record_axis]
            full, width = shape[grid.record_axis] // file * file, grid.shape[grid.entity_axis]
            self._widths[path] = widened(self._widths.get(path, []), full, width)
        array.resize(tuple(max(sizes) for sizes in zip(array.shape, shape, strict=True)))
        self._shapes[path] = shape

    def declare(self, path: str, shape: tuple[int, ...]) -> None:
        """Have the next commits name a smaller shape, leaving what lies outside of it for readers of earlier ones."""
        self._shapes[path] = shape
        grid = Grid.of({**self[path].metadata.to_dict(), "shape": shape})
        if grid.record_axis is not None and path in self._widths:
            self._widths[path] = cut(self._widths[path], shape[grid.record_axis])

    def settle(self) -> None:
        """Have the arrays' own metadata, too, name the shapes that the last commit declared; nothing is deleted."""
        nodes = self.nodes()
        for path in self._shapes:
            self._storage.write(f"{path}/{METADATA}", node_text(nodes[path]))

    def forget(self, group: str) -> None:
        """Name nothing of a group in the next commits."""
        for path in [path for path in self._nodes if path == group or path.startswith(f"{group}/")]:
            del self._nodes[path]
            self._shapes.pop(path, None)
            self._widths.pop(path, None)

    def create(self, path: str, **options: Any) -> zarr.Array[Any]:
        """Create an array with zarr's own options, and the groups above it.

        Chunks of nothing but NaN are written too: zarr would take recorded NaN for the fill value and leave them out.
        """
        parent, _, name = path.rpartition("/")
        config: Any = {"write_empty_chunks": True}
        array = self._group(parent).create_array(name, overwrite=True, config=config, **options)
        self._nodes[path] = array
        return array

    def create_from(self, path: str, data: NDArray[Any], dim: str) -> None:
        """Create or replace a one-dimensional array in one chunk, which has room to grow."""
        chunks, codecs = (max(ROOM, len(data)),), compressors(data.dtype)
        self.create(path, data=data, chunks=chunks, dimension_names=(dim,), compressors=codecs)

    def extend(self, path: str, data: NDArray[Any]) -> None:
        """Make a one-dimensional array `data`, which continues what it was.

        Its chunks stay as large as they are, so that a reader of an earlier commit still decodes them.
        """
        array = self[path]
        start = array.shape[0]
        array.resize((len(data),))
        array[start:] = data[start:]

    def extend_names(self, path: str, names: list[str]) -> None:
        """Make an array of strings `names`, which continue what it was."""
        self.extend(path, np.array(names, dtype=np.dtypes.StringDType()))

    def create_names(self, path: str, names: list[str], dim: str) -> None:
        """Create or replace an array of strings in one chunk."""
        self.create_from(path, np.array(names, dtype=np.dtypes.StringDType()), dim)

    def describe(self, path: str, **attributes: Any) -> None:
        """Put attributes on a group, creating it where needed."""
        self._group(path).attrs.update(attributes)

    def _group(self, path: str) -> zarr.Group:
        if not path:
            return self._root
        node = self._nodes.get(path)
        if not isinstance(node, zarr.Group):
            parent, _, name = path.rpartition("/")
            node = self._group(parent).create_group(name, overwrite=True)
            self._nodes[path] = node
        return node

    def nodes(self) -> dict[str, Any]:
        """Return the metadata of every group and array by path, as zarr consolidates it."""
        nodes = {path: self._nodes[path].metadata.to_dict() for path in sorted(self._nodes)}
        return nodes | {path: {**nodes[path], "shape": shape} for path, shape in self._shapes.items()}
