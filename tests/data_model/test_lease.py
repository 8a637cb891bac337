"""One writer per run where nobody can be asked for: who gives no sign is replaced, and can then write nothing more."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model import holder, lease
from deeptracker.data_model.errors import RunLockedError, RunUnreachableError
from deeptracker.data_model.holder import LOCK, Holder, read_holder
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import ROOT, Stamp, Storage, StorageWrapper, open_storage
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import start, wild


@pytest.fixture(params=["memory", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A run's place whose leases are short."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "LAPSE_SECONDS", 0.6)
    monkeypatch.setattr(lease, "SILENT_SECONDS", 1.5)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 3.0)
    monkeypatch.setattr(lease, "PAUSE_SECONDS", 0.05)
    if request.param == "memory":
        return open_storage(f"memory://lease/{tmp_path.name}")
    return open_storage(f"{request.getfixturevalue('bucket')}/run")


def lock_of(machine: str, seen: float, **said: object) -> bytes:
    return json.dumps({**asdict(Holder("node-17", 4, "1", machine, "theirs", seen)), **said}).encode()


def put_lock(place: Storage, content: bytes) -> None:
    assert place.exchange(LOCK, content, place.stamp(LOCK)) is not None


class Gone:
    """Stands for the process of a writer: its thread ends, and it writes no more."""

    def __init__(self, writer: RunWriter) -> None:
        writer._lock._over.set()  # type: ignore[attr-defined]


def test_a_second_writer_of_the_same_machine_is_refused_at_once(place: Storage) -> None:
    writer = start(place)
    began = time.monotonic()
    with pytest.raises(RunLockedError, match=r"recorded by process \d+ on .* wait until it has ended"):
        RunWriter.resume(place)
    assert time.monotonic() - began < lease.SILENT_SECONDS
    writer.close()
    RunWriter.resume(place).close()
    assert not place.exists(LOCK)


def test_a_writer_elsewhere_that_gives_signs_is_left_alone(place: Storage) -> None:
    start(place).close()
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.1):
            put_lock(place, lock_of("elsewhere", time.time()))

    put_lock(place, lock_of("elsewhere", time.time()))
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert open_run(place).state == "closed"
        with pytest.raises(RunLockedError, match="process 4 on node-17"):
            RunWriter.resume(place)
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("left", ["silent", "long ago", "torn", "of a dead process here"])
def test_a_lock_whose_holder_is_gone_is_taken_over(place: Storage, left: str) -> None:
    start(place).close()
    contents = {
        "silent": lock_of("elsewhere", time.time()),
        "long ago": lock_of("elsewhere", time.time() - 1e6),
        "torn": b'{"host": "',
        "of a dead process here": json.dumps(
            asdict(Holder(Holder.this_process().host, 2**22 - 1, "1", holder.this_machine(), "theirs", time.time()))
        ).encode(),
    }
    put_lock(place, contents[left])
    began = time.monotonic()
    writer = RunWriter.resume(place)
    took = time.monotonic() - began
    assert (took > lease.SILENT_SECONDS) == (left == "silent")
    writer.append_layers(np.arange(5), wild(0, 5))
    writer.close()
    assert open_run(place).iterations == (0, 5)


def test_the_state_of_a_run_is_that_of_its_writer(place: Storage) -> None:
    writer = start(place)
    assert open_run(place).state == "recording"
    Gone(writer)
    put_lock(place, lock_of("elsewhere", time.time()))
    assert open_run(place).state == "recording"
    put_lock(place, lock_of("elsewhere", time.time() - 2 * holder.SILENT_SECONDS))
    assert open_run(place).state == "interrupted"


def test_signs_are_given_while_the_training_does_nothing(place: Storage) -> None:
    writer = start(place)
    seen = {read_holder(place).seen for _ in range(20) if time.sleep(0.05) is None}  # type: ignore[union-attr]
    assert len(seen) > 3
    writer.close()


def test_who_lost_the_run_writes_nothing_more(place: Storage) -> None:
    first = start(place)
    first.append_layers(np.arange(3), wild(0, 3))
    first.commit()
    Gone(first)  # frozen: it gives no more signs
    put_lock(place, lock_of("elsewhere", time.time() - 1e6))
    second = RunWriter.resume(place)
    second.append_layers(np.arange(3, 9), wild(1, 6))
    second.commit()
    before = {name: place.read(name) for name in place.names() if name != LOCK}
    time.sleep(lease.LAPSE_SECONDS + 0.1)
    for at in (3, 5):
        first.append_layers(np.arange(at, at + 2), wild(2, 2))
        with pytest.raises(RunLockedError, match="taken over by another writer"):
            first.commit()
    first.abandon()
    assert {name: place.read(name) for name in place.names() if name != LOCK} == before
    second.close()
    assert open_run(place).iterations == (0, 9)


def test_a_commit_never_replaces_that_of_another(place: Storage) -> None:
    writer = start(place)
    other = place.read(ROOT).replace(b'"recording"', b'"closed"')
    place.write(ROOT, other)
    writer.append_layers(np.arange(3), wild(0, 3))
    with pytest.raises(RunLockedError, match="taken over by another writer, moved or deleted"):
        writer.commit()
    assert place.read(ROOT) == other
    writer.abandon()


def test_a_run_that_was_deleted_is_not_begun_anew(place: Storage) -> None:
    writer = start(place)
    place.clear()
    with pytest.raises(RunLockedError, match="deleted"):  # noqa: PT012 - whichever comes first to notice
        writer.append_layers(np.arange(3), wild(0, 3))
        writer.commit()
    writer.abandon()
    assert ROOT not in place.names()


class Line(StorageWrapper):
    """A connection that breaks at one write, before or after the store has done what was asked."""

    def __init__(self, inner: Storage, at: int, after: bool, times: int = 1) -> None:
        super().__init__(inner)
        self.at, self.after, self.times, self.writes = at, after, times, 0

    def _break(self, after: bool) -> None:
        if after == self.after and self.at <= self.writes < self.at + self.times:
            self.writes += 1
            raise RunUnreachableError("The line is dead.")

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        self._break(after=False)
        super().write(name, content, durable=durable)
        self._break(after=True)
        self.writes += 1

    def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
        self._break(after=False)
        stamp = super().exchange(name, content, before)
        self._break(after=True)
        self.writes += 1
        return stamp


@pytest.mark.parametrize("after", [False, True])
def test_a_line_that_breaks_once_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    monkeypatch.setattr(lease, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease, "LAPSE_SECONDS", 0.0)  # every write asks for the lock again
    broken = 0
    for at in range(3, 200, 5):  # up to 3 the run is still being taken: there an error is right
        place = open_storage(f"memory://line/{tmp_path.name}-{after}-{at}")
        line = Line(place, at, after)
        writer = start(line)
        values = wild(at, 1100)
        for first in range(0, 1100, 550):
            writer.append_layers(np.arange(first, first + 550), values[first : first + 550])
            writer.commit()
        writer.close()
        broken += line.writes > at
        run = open_run(place)
        assert run.state == "closed"
        assert run.iterations == (0, 1100)
        recorded = np.stack([run.layers[name].values for name in ("first", "second")], axis=1)
        np.testing.assert_array_equal(recorded, values)
    assert broken > 10


def test_a_store_that_stays_away_ends_the_recording_and_the_rest_is_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.1)
    place = open_storage(f"memory://away/{tmp_path.name}")
    line = Line(place, 10**9, False, times=10**9)
    writer = start(line)
    writer.append_layers(np.arange(10), wild(0, 10))
    writer.commit()
    writer.append_layers(np.arange(10, 20), wild(1, 10))
    line.at = line.writes
    with pytest.raises(RunUnreachableError):
        writer.commit()
    writer.abandon()
    assert open_run(place).iterations == (0, 10)
    line.at = 10**9
    resumed = RunWriter.resume(line)
    resumed.append_layers(np.arange(10, 30), wild(1, 20))
    resumed.close()
    assert open_run(place).iterations == (0, 30)


def test_a_store_without_conditions_is_warned_of(tmp_path: Path) -> None:
    class Careless(StorageWrapper):
        def exchange(self, name: str, content: bytes, before: Stamp | None) -> Stamp | None:
            return super().exchange(name, content, self.inner.stamp(name))

    place = Careless(open_storage(f"memory://careless/{tmp_path.name}"))
    with pytest.warns(RuntimeWarning, match="a second writer of this run will not be noticed"):
        writer = start(place)
    writer.append_layers(np.arange(10), wild(0, 10))
    writer.close()
    assert open_run(place).iterations == (0, 10)
