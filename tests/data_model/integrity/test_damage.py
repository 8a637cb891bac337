"""Flipped bits, cut and lost files: what is read is right, or an error that names the file; and a check finds it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model.check.checking import check_run
from deeptracker.data_model.check.verify import problem
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.presence import parse_file_name
from deeptracker.data_model.root import ROOT, read_root, understand
from deeptracker.data_model.storage import open_storage
from deeptracker.data_model.tail import decode_piece
from tests.data_model.integrity.reading import damaged, names, read_everything

DAMAGES = ("a flipped bit", "cut", "empty", "lost")


def harm(content: bytes, how: str, rng: random.Random) -> bytes | None:
    if how == "a flipped bit":
        at = rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    return {"cut": content[: rng.randrange(1, len(content))], "empty": b"", "lost": None}[how]


def one_of_each_kind(path: Path, rng: random.Random) -> Iterator[str]:
    """Yield one file of each array, one piece of each tail, and the metadata of some nodes."""
    by_kind: dict[str, list[str]] = {}
    for name in names(path):
        kind = "metadata" if name.endswith("/zarr.json") else re.sub(r"[-/][0-9]+(?=[/.]|$)", "", name)
        by_kind.setdefault(kind, []).append(name)
    for found in by_kind.values():
        yield from rng.sample(found, min(2, len(found)))


def test_what_is_read_is_right_or_an_error_that_names_the_file(path: Path) -> None:
    rng = random.Random(str(path.name))
    whole = read_everything(path)
    assert not [part for part in whole.values() if isinstance(part, RunFormatError)]
    noticed = 0
    for name in one_of_each_kind(path, rng):
        how = rng.choice(DAMAGES)
        if name == ROOT and how == "lost":  # then it is no run
            how = "cut"
        with damaged(path, name, harm((path / name).read_bytes(), how, rng)):
            found = read_everything(path)
        errors = {key: part for key, part in found.items() if isinstance(part, RunFormatError)}
        for key, error in errors.items():
            assert name in str(error), f"{key} with {how} in {name}: {error}"
        for key, values in found.items():
            if key not in errors:
                np.testing.assert_array_equal(values, whole[key], f"{key} with {how} in {name}")
        assert name == ROOT or len(errors) < len(whole) / 2, f"{name} costs too much: {sorted(errors)}"
        noticed += bool(errors)
    assert noticed > 15


def test_a_check_finds_every_file_that_is_damaged(path: Path) -> None:
    assert check_run(path).damage == []
    rng, done = random.Random(str(path.name)), set()
    for name in names(path):
        stray = name.startswith("tail/") and name not in _named_pieces(path)
        if name.startswith(ROOT) or stray:
            continue
        how = rng.choice(DAMAGES)
        content = harm((path / name).read_bytes(), how, rng)
        (path / name).unlink()
        if content is not None:
            (path / name).write_bytes(content)
        done.add(name)
    report = check_run(path)
    # Metadata is compared by what it says: a flipped bit in white space changes nothing.
    unseen = done - {finding.file for finding in report.damage}
    assert {name for name in unseen if not name.endswith("/zarr.json")} == set()
    for name in unseen:
        json.loads((path / name).read_bytes())
    assert {finding.file for finding in report.damage} <= done
    assert all(finding.concerns and str(finding.file) in str(finding) for finding in report.damage)


def _named_pieces(path: Path) -> set[str]:
    manifest = read_root(open_storage(path)).manifest
    return {f"tail/{piece.name}" for entry in manifest.logs.values() for piece in entry.tail}


def test_no_flip_of_any_byte_goes_unnoticed(path: Path) -> None:
    """Every byte of a file of each array and of each piece of the tail; one bit of each, any other would do."""
    manifest, nodes, _ = read_root(open_storage(path))
    pieces = {f"tail/{piece.name}": piece for entry in manifest.logs.values() for piece in entry.tail}
    rng, flips = random.Random(0), 0
    for name in one_of_each_kind(path, rng):
        parsed = parse_file_name(name)
        if parsed is None and name not in pieces:
            continue
        content = bytearray((path / name).read_bytes())
        for at in range(len(content)):
            content[at] ^= 1 << (at % 8)
            if parsed is not None:
                assert problem(bytes(content), nodes[parsed[0]], parsed[1]), f"byte {at} of {name}"
            else:
                with pytest.raises(ValueError, match="checksum"):
                    decode_piece(bytes(content), pieces[name])
            content[at] ^= 1 << (at % 8)
            flips += 1
    assert flips > 10_000


def test_no_flip_in_the_root_goes_unnoticed(path: Path) -> None:
    content = bytearray((path / ROOT).read_bytes())
    manifest, _ = understand(bytes(content), "here")
    rng = random.Random(0)
    for at in rng.sample(range(len(content)), 1500):
        bit = 1 << rng.randrange(8)
        content[at] ^= bit
        with pytest.raises(RunFormatError, match="here"):
            understand(bytes(content), "here")
        content[at] ^= bit
    assert understand(bytes(content), "here")[0].to_json() == manifest.to_json()
