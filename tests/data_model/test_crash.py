"""`kill -9` at random moments, with a reader attached: nothing committed is lost, nothing torn is ever read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model.errors import NotARunError
from deeptracker.data_model.run import open_run
from deeptracker.data_model.writer import RunWriter

KILLS = 6

WRITER = """
import sys, numpy as np
from pathlib import Path
from deeptracker.data_model import logs
from deeptracker.data_model.writer import RunWriter
from deeptracker.data_model.vocabulary import Description, Layer, Statistic

logs.records_per_shard = lambda fields: 16
path, seed = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(seed)
if (path / "zarr.json").exists():
    writer = RunWriter.resume(path)
else:
    statistics = [Statistic("value"), Statistic("double")]
    layers = [Layer("a", "Conv2d", (1,)), Layer("b", "Conv2d", (1,))]
    writer = RunWriter.create(path, Description(), layers, statistics, [])
last = writer.last_iteration
at = 0 if last is None else last + 1
while True:
    count = int(rng.integers(1, 60))
    iterations = np.arange(at, at + count)
    values = np.stack([iterations, 2 * iterations], axis=1)[:, :, None] + np.array([0, 0.5])
    writer.append_layers(iterations, values.astype(np.float32))
    writer.append_scalars(iterations, {"loss": iterations / 2})
    at += count
    if rng.random() < 0.5:
        writer.commit()
        print(at, flush=True)
"""


def check(path: Path) -> int:
    """Every record and every bucket equals its formula; return how many records there are."""
    run = open_run(path)
    stop = run.iterations[1]
    if stop == 0:
        return 0
    np.testing.assert_array_equal(run.layers["value"].values[:, 0], np.arange(stop, dtype=np.float32))
    np.testing.assert_array_equal(run.scalars["loss"].values, np.arange(stop) / 2)
    for buckets in (1, 20, 300):
        found = run.query("double", buckets=buckets, layers=["b"])
        np.testing.assert_array_equal(found["min"].values[:, 0], 2 * found.start + 0.5)
        np.testing.assert_array_equal(found["max"].values[:, 0], 2 * (found.stop - 1) + 0.5)
    return stop


def test_kill_at_any_moment(tmp_path: Path) -> None:
    path, rng, before = tmp_path / "run", np.random.default_rng(0), 0
    for kill in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(kill)], stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        deadline = time.monotonic() + rng.uniform(0.05, 0.6)
        while time.monotonic() < deadline:
            assert check(path) >= before
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout.read().split():
            acknowledged = int(line)
        process.wait()
        process.stdout.close()
        assert open_run(path).state == "interrupted"
        survived = check(path)
        assert survived >= acknowledged, f"kill {kill}: {acknowledged} records were acknowledged, {survived} are there"
        before = survived
    assert before > 16 * 8 * 2
    writer = RunWriter.resume(path)
    writer.close()
    assert check(path) == before


def test_killed_before_its_first_commit_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(NotARunError, match="empty"):
        open_run(tmp_path / "run")
