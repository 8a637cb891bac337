"""The root of a run: the one file that says what is committed, and the only one a reader trusts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from deeptracker.data_model.checksums import KEY, check_seal, sealed
from deeptracker.data_model.errors import NewerFormatError, NotARunError, RunFormatError
from deeptracker.data_model.manifest import FORMAT, FORMAT_VERSION, Manifest
from deeptracker.data_model.presence import unknown_widths
from deeptracker.data_model.storage import ROOT as ROOT
from deeptracker.data_model.storage import Stamp, Storage, require_folder
from deeptracker.data_model.trust import check_arrays

COPY = "zarr.json.copy"
"""A copy of the root of a closed run, the one file that nothing else could replace."""

_OURS = frozenset({"format_version", "logs", "commits", "generation"})
"""Attributes that tell a root of ours also where the name of the format in it is damaged."""


class Root(NamedTuple):
    """What is committed: the manifest, the metadata of every group and array by its path, and the file's stamp."""

    manifest: Manifest
    nodes: dict[str, Any]
    stamp: Stamp


def encode_root(manifest: Manifest, nodes: Mapping[str, Any]) -> bytes:
    """Return the text of a root: the manifest and the metadata of all arrays, `nodes` by path."""
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": manifest.to_json(),
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": dict(nodes)},
    }
    return sealed(root)


def read_root(storage: Storage) -> Root:
    """Read what is committed.

    Raises NotARunError where there is no run, RunFormatError where it is damaged, hostile or of a newer format, and
    RunAccessError where reading is refused.
    """
    content, stamp = _read(storage)
    return Root(*understand(content, str(storage)), stamp)


def understand(content: bytes, place: str) -> tuple[Manifest, dict[str, Any]]:
    """Return what the text of a root says: the manifest, and the metadata of every group and array by its path.

    Raises as `read_root`; `place` names the run in messages.
    """
    try:
        root = json.loads(content)
        _check_whole(content, root, place)
        nodes = check_arrays(root["consolidated_metadata"]["metadata"])
        manifest = Manifest.from_json(root["attributes"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RunFormatError(
            f"{place}/{ROOT} is damaged, or contradicts itself ({type(error).__name__}: {error}). The arrays beside it "
            "are untouched: `deeptracker check` says whether it can be repaired; otherwise restore this file from a "
            "copy of the run."
        ) from error
    if manifest.version == 1:
        manifest.widths = unknown_widths(nodes)
    return manifest, nodes


def _check_whole(content: bytes, root: Mapping[str, Any], place: str) -> None:
    """Raise unless the root is one of ours, of a version known here, and as it was written."""
    attributes = root["attributes"]
    version = attributes.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION and attributes.get("format") == FORMAT:
        raise NewerFormatError(
            f"{place} has format version {version!r}; this DeepTracker reads up to {FORMAT_VERSION}. "
            "Update it: pip install --upgrade deeptracker"
        )
    if KEY in attributes or (attributes.get("format") == FORMAT and version != 1):
        check_seal(content, root)
    if attributes.get("format") != FORMAT:
        if _OURS & set(attributes):
            raise ValueError(f"its format is {attributes.get('format')!r} instead of {FORMAT!r}")
        raise NotARunError(
            f"{place} is a zarr group, but not one of DeepTracker's: its format is {attributes.get('format')!r}."
        )


def _read(storage: Storage) -> tuple[bytes, Stamp]:
    try:
        return storage.read_stamped(ROOT)
    except (OSError, ValueError) as error:
        require_folder(storage)
        if not isinstance(error, FileNotFoundError):
            raise
        hint = f"it has no {ROOT}" if storage.entries() else "it is empty"
        raise NotARunError(
            f"{storage} is not a run: {hint}. A run is a folder written by DeepTracker's Recorder."
        ) from error
