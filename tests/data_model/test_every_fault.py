"""Any operation of a recording may fail, and the disk may be full in earnest: what was committed stays, and goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeptracker.data_model.check.checking import check_run
from deeptracker.data_model.run import open_run
from deeptracker.data_model.writer import RunWriter
from tests.crash.content import append, check, open_writer, small_shards
from tests.crash.faults import count_operations, fail_in_turn

STRIDE = 97
"""Here every 97th operation fails; `python -m tests.crash --faults` has all of them fail in turn."""


@pytest.fixture(autouse=True)
def _small_shards() -> Iterator[None]:
    with small_shards():
        yield


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # zarr drops what it had begun
@pytest.mark.parametrize("dead", [False, True], ids=["once", "for good"])
def test_whichever_operation_fails_nothing_committed_is_lost(tmp_path: Path, *, dead: bool) -> None:
    total = count_operations(tmp_path / "whole")
    numbers = range(dead, total, STRIDE)
    assert fail_in_turn(tmp_path, numbers, dead=dead) > len(numbers) // 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; only root can have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() or mount is None or _call(mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place):
        pytest.skip("no disk can be mounted here; test_faults.py has one that is full by injection")
    yield place
    _call("umount", place)


def _call(*command: str | Path) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def fill(writer: RunWriter) -> tuple[int, OSError]:
    """Record until the disk refuses; return how many iterations were committed, and what it said."""
    for start in range(0, 60_000, 30):
        try:
            append(writer, start, start + 30)
            writer.commit()
        except OSError as error:
            return start, error
    raise AssertionError("the disk has room for everything")


def test_a_disk_that_is_full_keeps_what_was_committed(small_disk: Path) -> None:
    writer = open_writer(small_disk / "run", None)
    committed, error = fill(writer)
    writer.abandon()
    assert error.errno == errno.ENOSPC
    assert committed > 60
    there = check(open_run(small_disk / "run"))
    assert there in (committed, committed + 30)  # the commit may have come through, and its clearing up not
    assert check_run(small_disk / "run").damage == []
    assert not _call("mount", "-o", "remount,size=20m", small_disk)
    writer = open_writer(small_disk / "run", None)
    append(writer, there, there + 30)
    writer.close()
    assert check(open_run(small_disk / "run")) == there + 30
