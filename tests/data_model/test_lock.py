"""One writer per run, whoever comes first, also when many come at once and the last one died."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deeptracker.data_model.errors import RunAccessError, RunExistsError, RunLockedError
from deeptracker.data_model.folder import access, holds_nothing
from deeptracker.data_model.holder import LOCK, read_holder
from deeptracker.data_model.run import open_run
from deeptracker.data_model.storage import LocalStorage
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import start

RACER = """
import sys
from deeptracker.data_model import lock
from deeptracker.data_model.storage import open_storage
from deeptracker.data_model.errors import RunLockedError
print("ready", flush=True)
sys.stdin.readline()
try:
    lock.acquire(open_storage(sys.argv[1]))
except RunLockedError as error:
    print("refused")
else:
    print("holds", flush=True)
    sys.stdin.readline()
"""


def dead_holder(host: str = "") -> dict[str, object]:
    return {"host": host or socket.gethostname(), "pid": 2**22 - 1, "started": "1"}


@pytest.mark.parametrize("left", ["dead", "torn", "nothing"])
def test_of_many_that_come_at_once_one_gets_the_run(tmp_path: Path, left: str) -> None:
    for _ in range(3):
        if left != "nothing":
            (tmp_path / LOCK).write_text(json.dumps(dead_holder()) if left == "dead" else '{"host": "')
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(4)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
        holder = read_holder(LocalStorage(tmp_path))
        assert sorted(answers) == ["holds", "refused", "refused", "refused"]
        assert holder is not None
        assert holder.pid == racers[answers.index("holds")].pid
        for racer in racers:
            racer.communicate("end\n")
        assert os.listdir(tmp_path) == [LOCK]
        (tmp_path / LOCK).unlink()


def test_a_lock_from_another_host_is_explained(tmp_path: Path) -> None:
    start(tmp_path / "run").close()
    (tmp_path / "run" / LOCK).write_text(json.dumps(dead_holder("node-17")))
    with pytest.raises(RunLockedError, match=r"process 4194303 on node-17, which cannot be asked .* delete .*lock"):
        RunWriter.resume(tmp_path / "run")
    assert open_run(tmp_path / "run").state == "closed"


def test_a_host_that_changes_its_name_keeps_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = start(tmp_path / "run")
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    writer.commit()
    writer.close()
    assert os.listdir(tmp_path / "run").count(LOCK) == 0


def test_a_writer_that_gives_up_lets_others_go_on_from_its_last_commit(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.abandon()
    writer.close()
    assert open_run(tmp_path / "run").state == "interrupted"
    RunWriter.resume(tmp_path / "run").close()
    assert open_run(tmp_path / "run").state == "closed"


def test_a_start_that_was_killed_leaves_room_for_the_next(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    root = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (tmp_path / "run" / "zarr.json").write_text(json.dumps(root))
    (tmp_path / "run" / "zarr.json.0f.partial").write_text("{")
    assert holds_nothing(LocalStorage(tmp_path / "run"))
    with pytest.raises(RunLockedError):
        start(tmp_path / "run")
    (tmp_path / "run" / LOCK).write_text(json.dumps(dead_holder()))
    start(tmp_path / "run").close()
    assert open_run(tmp_path / "run").state == "closed"
    del writer


def test_somebody_elses_zarr_group_is_not_taken_for_a_killed_start(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    assert not holds_nothing(LocalStorage(tmp_path))
    with pytest.raises(RunExistsError):
        start(tmp_path)
    (tmp_path / LOCK).write_text(json.dumps(dead_holder()))
    (tmp_path / "photographs").mkdir()
    with pytest.raises(RunExistsError):
        start(tmp_path)
    assert (tmp_path / "photographs").is_dir()


def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: RunWriter) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "commit", full)
        with pytest.raises(RunAccessError, match=r"No space left .* has room"):
            start(tmp_path / "run")
    assert os.listdir(tmp_path / "run") == []
    start(tmp_path / "run").close()


def test_what_the_system_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunAccessError, match=r"Read-only .* writable"), access(LocalStorage(tmp_path)):
        raise OSError(30, "Read-only file system")
    LocalStorage(tmp_path).clear()
    assert holds_nothing(LocalStorage(tmp_path / "absent"))
    with pytest.raises(RunAccessError):
        start(Path("/proc/deeptracker-run"))
