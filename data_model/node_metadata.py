"""The metadata of one group or array: as the root holds it, as zarr's own file beside the data, and opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.group import GroupMetadata
from zarr.core.metadata.v3 import ArrayV3Metadata
from zarr.storage import StorePath

METADATA = "zarr.json"


def node_text(node: Mapping[str, Any]) -> bytes:
    """Return the file that zarr keeps beside the data of a group or array that the root describes so."""
    kind = ArrayV3Metadata if node["node_type"] == "array" else GroupMetadata
    text: bytes = kind.from_dict(dict(node)).to_buffer_dict(default_buffer_prototype())[METADATA].to_bytes()
    return text


def same_node(text: bytes, node: Mapping[str, Any], *, ahead: bool) -> bool:
    """Return whether a file says of a group or an array what the root does.

    With `ahead`, an array may be larger: it grows before the root says so.
    """
    expected = json.loads(node_text(node))
    try:
        found = json.loads(text)
        if ahead and all(size >= least for size, least in zip(found["shape"], expected["shape"], strict=True)):
            found["shape"] = expected["shape"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return bool(found == expected)


def opened(store: Store, path: str, node: Mapping[str, Any]) -> zarr.Array[Any] | zarr.Group:
    """Return a group or an array that the root describes so, asking the disk nothing."""
    if node["node_type"] == "array":
        return zarr.Array.from_dict(StorePath(store, path), dict(node))
    return zarr.Group(zarr.AsyncGroup(GroupMetadata.from_dict(dict(node)), StorePath(store, path)))
