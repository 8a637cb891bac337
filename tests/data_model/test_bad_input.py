"""What a run from somebody else, or from a bad day, may look like: a clear error, and nothing changed on the disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptracker.data_model.checksums import sealed
from deeptracker.data_model.errors import DeepTrackerError, NotARunError, RunAccessError, RunFormatError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.tail import FOLDER
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import start, wild

Root = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small run that was never closed: shards, levels and a tail."""
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(1500), wild(0, 1500))
    writer.commit()
    (tmp_path / "run" / "writer.lock").unlink()
    return tmp_path / "run"


def fingerprint(path: Path) -> dict[str, str]:
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def edit(path: Path, change: Callable[[Root], None]) -> None:
    root = json.loads((path / "zarr.json").read_text())
    change(root)
    (path / "zarr.json").write_bytes(sealed(root))


def array(root: Root) -> Root:
    found: Root = root["consolidated_metadata"]["metadata"]["layers/level_0/value"]
    return found


def inner_codecs(root: Root) -> list[Root]:
    found: list[Root] = array(root)["codecs"][0]["configuration"]["codecs"]
    return found


def layers(root: Root) -> Root:
    found: Root = root["attributes"]["logs"]["layers"]
    return found


HOSTILE: dict[str, Callable[[Root], None]] = {
    "pickle codec": lambda root: array(root)["codecs"].append({"name": "pickle", "configuration": {}}),
    "pickle codec inside shards": lambda root: inner_codecs(root).append({"name": "numcodecs.pickle"}),
    "object type": lambda root: array(root).update(data_type="object"),
    "giant chunk": lambda root: array(root)["chunk_grid"]["configuration"].update(chunk_shape=[10**6, 10**6, 10**6]),
    "negative shape": lambda root: array(root).update(shape=[2, 3, -5]),
    "array outside": lambda root: root["consolidated_metadata"]["metadata"].update({"../../etc": array(root)}),
    "tail outside": lambda root: layers(root)["tail"].__setitem__(0, ["../../../etc/passwd", 476]),
    "tail absolute": lambda root: layers(root)["tail"].__setitem__(0, ["/etc/passwd", 476]),
    "more records than there are": lambda root: layers(root).update(records=10**9),
    "axis going back": lambda root: layers(root).update(axis=[[0, 0, 1], [700, 5, 1]]),
    "axis of nothing": lambda root: layers(root).update(axis=[]),
    "records of text": lambda root: layers(root).update(records="many"),
    "layers missing": lambda root: root["attributes"].pop("layers"),
    "array missing": lambda root: root["consolidated_metadata"]["metadata"].pop("layers/level_0/iteration"),
    "no metadata at all": lambda root: root.pop("consolidated_metadata"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_lying_root_is_refused(path: Path, change: Callable[[Root], None]) -> None:
    edit(path, change)
    before = fingerprint(path)
    with pytest.raises(RunFormatError) as caught:
        open_run(path).query("first")
    assert str(path) in str(caught.value)
    assert fingerprint(path) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_root_is_refused(path: Path, content: bytes) -> None:
    (path / "zarr.json").write_bytes(content)
    with pytest.raises(RunFormatError, match="damaged"):
        open_run(path)


def test_a_newer_format_says_to_update(path: Path) -> None:
    edit(path, lambda root: root["attributes"].update(format_version=3))
    with pytest.raises(RunFormatError, match=r"format version 3.*pip install --upgrade deeptracker"):
        open_run(path)


def test_what_is_no_run_says_so_and_stays_untouched(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    for name, said in (("empty", "empty"), ("file", "a file"), ("absent", "nothing"), ("other", "not one of")):
        with pytest.raises(NotARunError, match=said):
            open_run(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "other"]
    assert os.listdir(tmp_path / "empty") == []


def test_no_permission_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # mode bits do not stop the superuser, who may run this test
    with pytest.raises(RunAccessError, match="No permission to read"):
        open_run(path)


def test_a_damaged_tail_costs_only_the_tail(path: Path) -> None:
    piece = next((path / FOLDER).glob("layers-*.npz"))
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 0xFF
    piece.write_bytes(bytes(content))
    run = open_run(path)
    assert run.query("first", iterations=(0, 1024)).sizes["bucket"] == 1024
    with pytest.raises(RunFormatError, match="damaged"):
        run.query("first", iterations=(1100, 1200))
    before = fingerprint(path)
    with pytest.raises(RunFormatError, match="damaged"):
        RunWriter.resume(path)
    assert fingerprint(path) == before


def test_a_damaged_shard_is_named(path: Path) -> None:
    shard = next((path / "layers/level_0/value/c").rglob("*/0"))
    while shard.is_dir():
        shard = next(shard.iterdir())
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(RunFormatError, match="layers/level_0/value"):
        open_run(path).query("first", iterations=(0, 100))


def test_every_error_is_one_of_ours() -> None:
    for kind in (NotARunError, RunFormatError, RunAccessError):
        assert issubclass(kind, DeepTrackerError)


@pytest.mark.parametrize("relaid", [False, True])
def test_a_flipped_digit_of_the_root_is_noticed(path: Path, relaid: bool) -> None:
    content = (path / "zarr.json").read_bytes()
    if relaid:  # by a tool that reads and writes JSON: it says the same
        content = json.dumps(json.loads(content), indent=1).encode()
        (path / "zarr.json").write_bytes(content)
        assert open_run(path).iterations == (0, 1500)
    (path / "zarr.json").write_bytes(content.replace(b"1500", b"1400"))
    with pytest.raises(RunFormatError, match="checksum"):
        open_run(path)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_lost_shard_is_named_and_not_taken_for_missing_values(path: Path, how: str) -> None:
    shard = path / "layers/level_0/value/c/0/0/0"
    shard.unlink()
    if how == "empty":
        shard.write_bytes(b"")
    run = open_run(path)
    assert run.query("first", iterations=(1024, 1500)).sizes["bucket"]
    with pytest.raises(RunFormatError, match=f"layers/level_0/value/c/0/0/0 is {how}"):
        run.query("first", iterations=(0, 100))


def test_a_lost_piece_of_the_tail_is_named(path: Path) -> None:
    piece = next((path / FOLDER).glob("layers-*.npz"))
    piece.unlink()
    run = open_run(path)
    assert run.query("first", iterations=(0, 1024)).sizes["bucket"] == 1024
    with pytest.raises(RunFormatError, match=f"{piece.name} is missing"):
        run.query("first", iterations=(1100, 1200))


def test_the_smaller_array_that_a_header_in_the_tail_claims_is_not_believed(path: Path) -> None:
    piece = next((path / FOLDER).glob("layers-*.npz"))
    content = piece.read_bytes()
    assert content.count(b"(476, 2, 3)") == 1
    piece.write_bytes(content.replace(b"(476, 2, 3)", b"(476, 2, 2)"))
    for version in (2, 1):
        if version == 1:
            content = (path / "zarr.json").read_bytes()
            root = json.loads(content)
            root["attributes"]["format_version"] = 1
            del root["attributes"]["checksum"]
            layers(root)["tail"] = [[name, rows] for name, rows, _ in layers(root)["tail"]]
            (path / "zarr.json").write_text(json.dumps(root))
        with pytest.raises(RunFormatError, match=f"{piece.name} is damaged .*checksum"):
            open_run(path).query("first", iterations=(1100, 1200))
