"""Every write may fail: the disk is full at the k-th write, for every k. The run stays whole up to its last commit."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import LocalStore

from deeptracker.data_model import logs
from deeptracker.data_model.errors import RunAccessError, RunLockedError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import Content, LocalStorage, StorageWrapper
from deeptracker.data_model.storage import whole as together
from deeptracker.data_model.vocabulary import Layer
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import LAYERS, start

PORTION = 11


class Disk:
    """Counts the writes of shards, metadata, tails and roots, and fails from number `room` on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.writes = 0
        store, whole = LocalStore.set, LocalStorage.write

        async def put(local: LocalStore, *given: Any, **options: Any) -> None:
            self.write()
            await store(local, *given, **options)

        def write(storage: LocalStorage, name: str, content: Content, *, durable: bool = False) -> None:
            try:
                self.write()
            except OSError:  # Half of it was written when the disk was full.
                partial, there = storage.path / f"{name}.partial", together(content)
                partial.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(there[: len(there) // 2])
                raise
            whole(storage, name, content, durable=durable)

        patch.setattr(LocalStore, "set", put)
        patch.setattr(LocalStorage, "write", write)

    def write(self) -> None:
        if self.room is not None and self.writes >= self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.writes += 1


def append(writer: RunWriter, at: int) -> None:
    """Append a portion of everything there is, as formulas of the iteration."""
    iterations = np.arange(at, at + PORTION)
    values = np.repeat(iterations[:, None, None], len(writer.layers), axis=2).repeat(2, axis=1)
    writer.append_layers(iterations, values.astype(np.float32))
    writer.append_scalars(iterations, {"loss": iterations / 2, f"scalar{at // 40}": iterations * 1.0})
    one = np.array([at], np.int32)
    writer.append_validation(at, [str(at // 30)], one * 0, one * 0, np.array([0.5], np.float32), one * 0)
    writer.append_snapshot(at, [np.full(layer.shape, at, np.float32) for layer in writer.layers])
    if at == 3 * PORTION:
        writer.add_layers([Layer("late", "Conv2d", (2, 1), 2)])


def check(path: Path) -> int:
    run = open_run(path)
    stop = run.iterations[1]
    if stop:
        expected = np.arange(stop, dtype=np.float32)
        np.testing.assert_array_equal(run.layers["first"].values[:, 0], expected)
        np.testing.assert_array_equal(run.scalars["loss"].values, np.arange(stop) / 2)
        found = run.query("second", family="layers", buckets=2, layers=[LAYERS[1].name])
        np.testing.assert_array_equal(found["max"].values[:, 0], found.stop.values - 1)
        validations = run.validation_results()
        np.testing.assert_array_equal(validations.iteration, np.arange(0, stop, PORTION))
        assert ((validations.predicted == 0).sum(axis=1) == 1).all()
        for number, iteration in enumerate(run.snapshot_iterations):
            assert (run.kernels(LAYERS[2].name, number) == iteration).all()
    return stop


def test_whichever_write_fails_the_last_commit_is_whole_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    disk = Disk(monkeypatch)
    rooms = itertools.chain(range(0, 60, 4), itertools.count(60, 17))
    reached = set()
    for room in rooms:
        path, committed = tmp_path / f"run{room}", 0
        disk.room, disk.writes = None, 0
        writer = start(path)
        disk.room, disk.writes = room, 0
        failed = False
        for at in range(0, 8 * PORTION, PORTION):
            try:
                append(writer, at)
                writer.commit()
            except OSError:
                failed = True
                break
            committed = at + PORTION
        disk.room = None
        writer.abandon()
        if not failed:
            break
        assert check(path) == committed
        reached.add(committed)
        writer = RunWriter.resume(path)
        append(writer, committed)
        writer.close()
        assert check(path) == committed + PORTION
        shutil.rmtree(path)
    assert len(reached) >= 6, "the faults were not spread over the recording"


def test_a_folder_that_vanishes_is_not_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    writer = start(tmp_path / "run")
    append(writer, 0)
    writer.commit()
    (tmp_path / "run").rename(tmp_path / "moved")
    append(writer, PORTION)
    with pytest.raises((RunLockedError, OSError)):
        writer.commit()
    with pytest.raises((RunLockedError, OSError)):
        writer.close()
    assert not (tmp_path / "run" / "zarr.json").exists()
    assert check(tmp_path / "moved") == PORTION


def test_a_run_that_was_taken_over_is_left_alone(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    lock = tmp_path / "run" / "writer.lock"
    lock.write_text(lock.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1'))
    before = (tmp_path / "run" / "zarr.json").read_bytes()
    with pytest.raises(RunLockedError, match="taken over by process 1"):
        writer.commit()
    assert (tmp_path / "run" / "zarr.json").read_bytes() == before


def test_a_start_on_a_full_disk_says_so_and_leaves_the_folder_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    for room in range(0, 20, 3):
        disk.room, disk.writes = room, 0
        with pytest.raises(RunAccessError, match="No space left"):
            start(tmp_path / "run")
        assert os.listdir(tmp_path / "run") == []
    disk.room = None
    start(tmp_path / "run").close()


class Straggling(StorageWrapper):
    """Fails while a write is under way, which takes its time and succeeds."""

    def __init__(self, path: Path) -> None:
        super().__init__(LocalStorage(path))
        self.writing, self.failed = threading.Event(), False

    def write(self, name: str, content: Content, *, durable: bool = False) -> None:
        if name == "layers/zarr.json":
            self.writing.set()
            time.sleep(0.3)
        super().write(name, content, durable=durable)

    def exists(self, name: str) -> bool:
        if name == "zarr.json" and self.writing.wait(0.1):
            self.failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().exists(name)


def test_what_a_failed_start_had_under_way_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "run"
    storage = Straggling(path)
    with pytest.raises(RunAccessError):
        start(storage)
    assert storage.failed
    time.sleep(0.4)
    assert list(path.iterdir()) == []
    start(path).close()
