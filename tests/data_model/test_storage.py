"""The one interface to the place of a run: whole files, parts of them, and of two that come at once one wins."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.data_model.errors import NotARunError, RunAccessError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import LocalStorage, Storage, StorageWrapper, open_storage, require_folder
from deeptracker.data_model.storage.known import KnownStorage
from deeptracker.data_model.storage.ranges import cut, join_near
from tests.data_model.test_query import start, wild

OUTSIDE = ("../beside", "/etc/passwd", "tail/../../beside", "tail//piece", "", ".", "tail/\0", "tail\\..\\x", "tail/")


@pytest.fixture(params=["folder", "memory", "bucket", "wrapped", "known"])
def storage(tmp_path: Path, request: pytest.FixtureRequest) -> Storage:
    """The same interface over each kind of place."""
    places = {
        "folder": lambda: tmp_path / "run",
        "memory": lambda: f"memory://tests/{tmp_path.name}",
        "bucket": lambda: f"{request.getfixturevalue('bucket')}/a folder/run",
        "wrapped": lambda: StorageWrapper(LocalStorage(tmp_path / "run")),
        "known": lambda: KnownStorage(LocalStorage(tmp_path / "run")),
    }
    found = open_storage(places[request.param]())
    found.prepare()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> LocalStorage:
    found = LocalStorage(tmp_path / "run")
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
    parts = [(0, 2), (100, 1), (7, 0), (255, 9)]
    assert storage.read_ranges(name, parts) == [content[:2], content[100:101], b"", content[255:]]
    assert storage.read_ranges(name, [(0, 2), (256, 1), (900, 9)]) == [content[:2], b"", b""]
    assert storage.read_range(name, 300, 5) == b""
    assert storage.total_size() == 256


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=12), st.integers(0, 30))
def test_near_parts_are_fetched_together(ranges: list[tuple[int, int]], near: int) -> None:
    content = bytes(range(240))
    spans = join_near([part for part in ranges if part[1]], near)
    found = cut(spans, [content[start : start + length] for start, length in spans], ranges)
    assert found == [content[start : start + length] for start, length in ranges]
    gaps = [after[0] - sum(before) for before, after in itertools.pairwise(spans)]
    assert all(gap > near for gap in gaps)


def test_arrays_are_zarrs_own(storage: Storage) -> None:
    values = np.arange(600, dtype=np.float32).reshape(20, 30)
    store = storage.array_store(read_only=False)
    array = zarr.create_array(store, name="group/values", data=values, chunks=(5, 10), shards=(10, 30))
    np.testing.assert_array_equal(array[3:12, 7], values[3:12, 7])
    again = zarr.open_array(storage.array_store(read_only=True), path="group/values", mode="r")
    np.testing.assert_array_equal(again[:], values)
    array.resize((10, 30))
    assert [name for name in storage.names("group/values/c/")] == ["group/values/c/0/0"]
    group = zarr.open_group(storage.array_store(read_only=False), mode="a")
    assert set(dict(group["group"].members())) == {"values"}
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 1


def test_what_is_not_there_says_so(storage: Storage) -> None:
    storage.write("other", b"x")
    for ask in (storage.read, storage.read_stamped, storage.size):
        with pytest.raises(FileNotFoundError):
            ask("zarr.json")
    with pytest.raises(FileNotFoundError):
        storage.read_range("zarr.json", 0, 1)
    with pytest.raises(FileNotFoundError):
        storage.read_ranges("zarr.json", [(0, 1)])
    assert storage.stamp("zarr.json") is None
    assert (storage.exists("zarr.json"), storage.exists("other")) == (False, True)
    storage.delete("zarr.json")


def test_a_replaced_file_has_another_stamp(storage: Storage) -> None:
    seen = set()
    for content in (b"one", b"two", b"two", b""):
        storage.write("zarr.json", content, durable=True)
        assert storage.read_stamped("zarr.json") == (content, storage.stamp("zarr.json"))
        seen.add(storage.stamp("zarr.json"))
    assert len(seen) >= 3  # a bucket gives the same content the same stamp
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
    assert storage.within("tail").names() == ["a-1.npz", "b-1.npz"]
    assert storage.kind() == "folder"
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


def test_what_the_system_does_not_let_read_says_so(folder: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    folder.write("zarr.json", b"x")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunAccessError, match=r"No permission to read .*zarr\.json"):
        folder.read_range("zarr.json", 0, 1)


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
        ("s3://bucket/../other", "no place of a run"),
        ("s3://bucket/a/./b", "no place of a run"),
        ("s3://bucket//run", "no place of a run"),
        ("s3:///run", "no place of a run"),
        ("s3://bucket/%2e%2e/other", "'%' in it"),
        ("s3://bucket/run#1", "'#' in it"),
        ("s3://bucket/run?versionId=3", "'[?]' in it"),
        ("s3://bucket/run\0", "in it"),
        ("s3://bucket\\run", "in it"),
        ("https://host/%2E%2e/other", "'%2E' in it"),
        ("https://host/a%2fb", "'%2f' in it"),
        ("https://host/a%00b", "'%00' in it"),
        ("https://host/run#1", "'#' in it"),
        ("https://host/run?X-Amz-Signature=1", "in it"),
        ("https://somebody:word@host/run", "a user or a password"),
        ("s3://key:word@bucket/run", "a user or a password"),
    ],
)
def test_a_url_of_nothing_known_is_refused(place: str, said: str) -> None:
    with pytest.raises(NotARunError, match=said) as caught:
        open_storage(place)
    assert "word@" not in str(caught.value)
    assert "Signature" not in str(caught.value)


@pytest.mark.parametrize("place", ["s3://bucket/runs/r50", Path("s3://bucket/runs/r50"), "S3://bucket/runs/r50/"])
def test_a_url_may_come_as_a_path(place: str | Path, bucket: str) -> None:
    storage = open_storage(place)
    assert (storage.url, storage.name, storage.local) == ("s3://bucket/runs/r50", "r50", None)


def test_without_the_packages_a_url_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("deeptracker.data_model.storage.objects")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("deeptracker.data_model.storage.objects")
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(RunAccessError, match=r"pip install 'deeptracker\[cloud\]'"):
        open_storage("s3://bucket/run")


def test_a_run_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, said in (("file", "a file"), ("absent", "nothing"), ("nul\0", "nothing")):
        with pytest.raises(NotARunError, match=said):
            require_folder(open_storage(tmp_path / name))
        with pytest.raises(NotARunError, match=said):
            open_run(tmp_path / name)
