"""The disk is slow, full or gone; the process forks or ends: training goes on or is told, and nothing hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.writer import RunWriter
from deeptracker.tracker import block
from tests.tracker.networks import batch, small, train


def prepared(tmp_path, **options):
    torch.manual_seed(0)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recorder(tmp_path / "run", model, optimizer, every=1, **options), model, optimizer


@pytest.fixture
def full_disk(monkeypatch):
    """Return a switch that makes every commit fail."""
    commit, full = RunWriter.commit, threading.Event()

    def fail(writer, *given):
        if full.is_set():
            raise OSError(28, "No space left on device")
        commit(writer, *given)

    monkeypatch.setattr(RunWriter, "commit", fail)
    return full


def test_a_full_disk_raises_once_and_what_was_committed_stays(tmp_path, full_disk):
    recorder, model, optimizer = prepared(tmp_path)
    train(model, optimizer, 5, log=recorder.log)
    recorder.flush()
    full_disk.set()
    with pytest.raises(RecordingError, match="No space left") as caught:
        train(model, optimizer, 5, log=recorder.log, seen=lambda _: recorder.flush())
    assert "resume=True" in str(caught.value)
    train(model, optimizer, 5, log=recorder.log)
    recorder.close()
    run = open_run(tmp_path / "run")
    assert run.iterations == (0, 5) or run.iterations == (0, 16)
    np.testing.assert_array_equal(run.layers.iteration, range(5))
    assert run.state == "interrupted"
    full_disk.clear()
    with Recorder(tmp_path / "run", model, optimizer, resume=True) as recorder:
        assert recorder.iteration == 5


def test_a_full_disk_warns_once_and_training_goes_on_unchanged(tmp_path, full_disk):
    recorder, model, optimizer = prepared(tmp_path, on_error="warn")
    full_disk.set()
    with pytest.warns(RuntimeWarning, match="No space left") as caught:
        losses = train(model, optimizer, 20, log=recorder.log, seen=lambda _: recorder.flush())
    assert recorder.iteration == 20
    recorder.close()
    assert len(caught) == 1
    torch.manual_seed(0)
    model = small()
    assert losses == train(model, torch.optim.SGD(model.parameters(), lr=0.1), 20)


def test_an_error_in_the_training_is_not_hidden_by_one_of_the_disk(tmp_path, full_disk):
    recorder, _, _ = prepared(tmp_path)
    full_disk.set()
    with pytest.raises(ZeroDivisionError), pytest.warns(RuntimeWarning, match="No space left"), recorder:
        _ = 1 / 0


def test_a_training_that_fails_is_kept_up_to_its_last_step(tmp_path):
    recorder, model, optimizer = prepared(tmp_path)

    def interrupt(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), recorder:
        train(model, optimizer, 10, log=recorder.log, seen=interrupt)
    run = open_run(tmp_path / "run")
    assert run.layers.sizes["iteration"] == 3
    assert run.state == "closed"
    assert any(note.get("kind") == "KeyboardInterrupt" for note in run.notes)


def test_training_waits_for_a_slow_disk_loses_nothing_and_notes_the_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(block, "_LONGEST", 4)
    append, seconds = RunWriter.append_scalars, [2.0]

    def slowly(writer, *given):
        time.sleep(seconds.pop() if seconds else 0.0)
        append(writer, *given)

    monkeypatch.setattr(RunWriter, "append_scalars", slowly)
    recorder, model, optimizer = prepared(tmp_path)
    with recorder:
        losses = train(model, optimizer, 60, log=recorder.log)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars.loss, losses)
    np.testing.assert_array_equal(run.layers.iteration, range(60))
    assert sum(note["seconds"] for note in run.notes if note["key"] == "waited for the disk") > 0.1, run.notes


def test_what_was_recorded_is_committed_in_time_even_when_training_stands_still(tmp_path):
    recorder, model, optimizer = prepared(tmp_path, flush_seconds=0.2)
    with recorder:
        train(model, optimizer, 7, log=recorder.log)
        deadline = time.monotonic() + 10
        while open_run(tmp_path / "run").scalars.sizes.get("iteration") != 7:
            assert time.monotonic() < deadline, "not committed by itself"
            time.sleep(0.05)


def test_data_loader_workers_do_not_record(tmp_path):
    recorder, model, optimizer = prepared(tmp_path)

    class Nosy(TensorDataset):
        """A dataset that holds the recorder, logs to it, and closes it, in the worker."""

        def __getitem__(self, index):
            if torch.utils.data.get_worker_info() is not None:
                recorder.log(worker=1.0)
                recorder.flush()
                recorder.close()
            return super().__getitem__(index)

    loader = DataLoader(Nosy(*batch(0, 16)), batch_size=4, num_workers=2, multiprocessing_context="fork")
    with recorder:
        for x, y in loader:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            recorder.log(loss=loss)
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert set(run.scalars.data_vars) == {"learning_rate", "loss"}
    assert run.layers.sizes["iteration"] == 4
    assert run.state == "closed"


def test_a_flood_of_jobs_does_not_put_off_the_commit(tmp_path):
    """Jobs that come faster than they are done must not keep what is done already from being committed."""
    recorder, model, optimizer = prepared(tmp_path, flush_seconds=0.2, snapshots=False)
    with recorder:
        start = time.monotonic()
        while open_run(tmp_path / "run").scalars.sizes.get("iteration", 0) < 20:
            train(model, optimizer, 1, log=recorder.log)
            recorder.snapshot()
            assert time.monotonic() - start < 30, "nothing was committed while jobs kept coming"


SCRIPT = """
import os, sys, torch
from deeptracker import Recorder
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recorder = Recorder(sys.argv[1], model, optimizer, every=1, flush_seconds=600)
for step in range(5):
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("ending", "state", "steps", "code"),
    [
        ("", "closed", 5, 0),
        ("sys.exit(3)", "closed", 5, 3),
        ("raise KeyError", "closed", 5, 1),
        ("child = os.fork()\nif child == 0: sys.exit()\nos.waitpid(child, 0)", "closed", 5, 0),
        ("recorder.flush(); os._exit(0)", "interrupted", 5, 0),
        ("recorder.flush(); os.kill(os.getpid(), 15)", "interrupted", 5, -15),
    ],
)
def test_the_run_is_whole_however_the_process_ends(tmp_path, ending, state, steps, code):
    path: Path = tmp_path / "run"
    script = [sys.executable, "-W", "ignore", "-c", SCRIPT + ending, str(path)]
    done = subprocess.run(
        script, capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == code, done.stderr
    assert ("KeyError" in done.stderr) == ("KeyError" in ending)
    assert "deeptracker" not in done.stderr or ending == "raise KeyError", done.stderr
    run = open_run(path)
    assert run.state == state
    assert run.layers.sizes["iteration"] == steps
