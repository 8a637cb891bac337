"""What a run from somebody else may declare: only what DeepTracker itself writes, in sizes that a machine can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

_NODE = re.compile(r"[a-z_]+(/[a-z_]+[0-9]?)*")
_TAIL = re.compile(r"[a-z]+-[0-9]+\.npz")
_CODECS = frozenset({"bytes", "blosc", "crc32c", "sharding_indexed", "vlen-utf8", "zstd"})
_TYPES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1, "bool": 1, "string": 64}
LARGEST_CHUNK = 1 << 30


def check_tail_name(name: str) -> str:
    """Return the name of a tail piece, refusing whatever could point outside the run."""
    if not _TAIL.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a tail piece")
    return name


def check_arrays(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of all groups and arrays after refusing unknown codecs, types, names and sizes."""
    for path, node in nodes.items():
        if not _NODE.fullmatch(path):
            raise ValueError(f"{path!r} is no name of an array of a run")
        if node["node_type"] == "array":
            _check_array(path, node)
    return dict(nodes)


def _check_array(path: str, node: Mapping[str, Any]) -> None:
    kind = node["data_type"]
    if kind not in _TYPES:
        raise ValueError(f"{path} has data type {kind!r}; allowed are {', '.join(_TYPES)}")
    unknown = set(_codec_names(node["codecs"])) - _CODECS
    if unknown:
        raise ValueError(
            f"{path} asks for codec {', '.join(sorted(unknown))}; allowed are {', '.join(sorted(_CODECS))}"
        )
    chunk = [int(size) for size in node["chunk_grid"]["configuration"]["chunk_shape"]]
    if min(chunk, default=1) < 1 or math.prod(chunk) * _TYPES[kind] > LARGEST_CHUNK:
        raise ValueError(f"{path} declares chunks of {chunk}, more than {LARGEST_CHUNK >> 20} MiB each")
    if len(node["shape"]) != len(chunk) or min((int(size) for size in node["shape"]), default=0) < 0:
        raise ValueError(f"{path} declares shape {node['shape']} in chunks of {chunk}")


def _codec_names(codecs: Iterable[Mapping[str, Any]]) -> list[str]:
    names = []
    for codec in codecs:
        names.append(str(codec["name"]))
        inner = codec.get("configuration", {})
        for part in ("codecs", "index_codecs"):
            names.extend(_codec_names(inner.get(part, ())))
    return names
