"""The one interface to the place of a run: whole files, parts of them, and of two that come at once one wins."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model.errors import NotARunError, RunAccessError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import LocalStorage, Storage, StorageWrapper, open_storage, require_folder
from tests.data_model.test_query import start, wild

OUTSIDE = ("../beside", "/etc/passwd", "tail/../../beside", "tail//piece", "", ".", "tail/\0", "tail\\..\\x", "tail/")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    found = open_storage(tmp_path / "run")
    found.prepare()
    return found


def test_a_file_is_read_whole_and_in_parts(storage: Storage) -> None:
    content = bytes(range(256))
    storage.write("layers/level_0/c/0", content)
    name = "layers/level_0/c/0"
    assert storage.read(name) == content
    assert storage.size(name) == 256
    assert storage.read_range(name, 3, 5) == content[3:8]
    assert storage.read_range(name, -4, 4) == content[-4:]
    assert storage.read_range(name, -300, 300) == content
    assert storage.read_range(name, 250, 100) == content[250:]
    assert storage.read_ranges(name, [(0, 2), (100, 1), (255, 9)]) == [content[:2], content[100:101], content[255:]]


def test_what_is_not_there_says_so(storage: Storage) -> None:
    for ask in (storage.read, storage.read_stamped, storage.size):
        with pytest.raises(FileNotFoundError):
            ask("zarr.json")
    with pytest.raises(FileNotFoundError):
        storage.read_range("zarr.json", 0, 1)
    with pytest.raises(FileNotFoundError):
        storage.read_ranges("zarr.json", [(0, 1)])
    assert storage.stamp("zarr.json") is None
    storage.delete("zarr.json")


def test_a_replaced_file_has_another_stamp(storage: Storage) -> None:
    seen = set()
    for content in (b"one", b"two", b"two", b""):
        storage.write("zarr.json", content, durable=True)
        assert storage.read_stamped("zarr.json") == (content, storage.stamp("zarr.json"))
        seen.add(storage.stamp("zarr.json"))
    assert len(seen) >= 3
    assert storage.names() == ["zarr.json"]


def test_an_exchange_happens_only_where_nothing_else_has(storage: Storage) -> None:
    first = storage.exchange("lock", b"first", None)
    assert first is not None
    assert first == storage.stamp("lock")
    assert storage.exchange("lock", b"late", None) is None
    second = storage.exchange("lock", b"second", first)
    assert second not in (None, first)
    assert storage.exchange("lock", b"stale", first) is None
    assert storage.read("lock") == b"second"
    assert storage.names() == ["lock"]


def test_names_and_entries_tell_what_there_is(storage: Storage) -> None:
    for name in ("zarr.json", "tail/a-1.npz", "tail/b-1.npz", "layers/level_0/c/0", "tails"):
        storage.write(name, b"x")
    assert storage.names() == ["layers/level_0/c/0", "tail/a-1.npz", "tail/b-1.npz", "tails", "zarr.json"]
    assert storage.names("tail/") == ["tail/a-1.npz", "tail/b-1.npz"]
    assert storage.names("tail") == ["tail/a-1.npz", "tail/b-1.npz", "tails"]
    assert storage.names("nothing/") == []
    assert storage.entries() == ["layers/", "tail/", "tails", "zarr.json"]
    storage.clear(keep=("tails",))
    assert storage.names() == ["tails"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leaves_the_run(storage: Storage, name: str) -> None:
    storage.write("tail/piece", b"x")
    for ask in (storage.read, storage.delete, storage.size, storage.stamp):
        with pytest.raises(ValueError, match="no name of a file"):
            ask(name)
    with pytest.raises(ValueError, match="no name of a file"):
        storage.write(name, b"x")
    with pytest.raises(ValueError, match="no name of a file"):
        storage.read_range(name, 0, 1)


def test_a_folder_that_has_vanished_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LocalStorage(tmp_path / "gone").write("tail/piece", b"x")
    assert os.listdir(tmp_path) == []


def test_what_the_system_does_not_let_read_says_so(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    storage.write("zarr.json", b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunAccessError, match=r"No permission to read .*zarr\.json"):
        storage.read_range("zarr.json", 0, 1)


def test_a_run_opens_by_path_url_and_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a run, 50% # done"
    writer = start(folder)
    writer.append_layers(np.arange(1500), wild(0, 1500))
    writer.close()
    by_path = open_run(folder)
    assert by_path.path == folder
    monkeypatch.chdir(tmp_path)
    for place in (str(folder), by_path.url, folder.name, StorageWrapper(LocalStorage(folder))):
        run = open_run(place)
        assert run.url == by_path.url
        assert run.name == folder.name
        np.testing.assert_array_equal(run.layers["first"].values, by_path.layers["first"].values)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file://elsewhere/run", "no folder of this machine"),
        ("file:///run?version=2", "no folder of this machine"),
        ("gopher://bucket/run", "gopher://"),
    ],
)
def test_a_url_of_nothing_known_is_refused(place: str, said: str) -> None:
    with pytest.raises(NotARunError, match=said):
        open_storage(place)


def test_a_run_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, said in (("file", "a file"), ("absent", "nothing"), ("nul\0", "nothing")):
        with pytest.raises(NotARunError, match=said):
            require_folder(open_storage(tmp_path / name))
        with pytest.raises(NotARunError, match=said):
            open_run(tmp_path / name)
