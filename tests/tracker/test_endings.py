"""However a training ends, by whatever signal or fault: at most the last seconds are lost, and nothing hangs."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RunAccessError, RunLockedError
from deeptracker.data_model.writer import RunWriter
from tests.tracker.networks import small, train

FLUSH = 0.4
SLACK = 1.5
"""Seconds that a busy machine may take to write, on top of the flush interval."""

TRAINING = """
import os, signal, sys, time, torch
from deeptracker import Recorder
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell has what it starts behind `&` ignore it.
torch.set_num_threads(1)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recorder = Recorder(sys.argv[1], model, optimizer, every=1, flush_seconds=float(sys.argv[2]))
{before}
start = time.monotonic()
while True:
    with torch.no_grad():
        model.weight.fill_(recorder.iteration)
    recorder.log(loss=recorder.iteration / 2)
    optimizer.step()
    print(recorder.iteration, time.monotonic(), flush=True)
    time.sleep(0.002)
    {after}
"""


@pytest.fixture
def begin():
    """Return what starts a training in another process, which does not outlive the test."""
    started = []

    def start(path: Path | str, before: str = "", after: str = "", flush: float = FLUSH) -> subprocess.Popen[str]:
        script = TRAINING.format(before=before, after=after)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(flush)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[list[tuple[int, float]], str]:
    """Return how many steps had been taken at which time, and what was said on stderr."""
    output, errors = process.communicate(timeout=seconds)
    lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return [(int(steps), float(at)) for steps, at in lines], errors


def check(path: Path | str) -> int:
    """Every record equals its formula; return how many there are."""
    run = open_run(path)
    stop = run.scalars.sizes.get("iteration", 0)
    if not stop:
        return 0
    np.testing.assert_array_equal(run.scalars.loss, np.arange(stop) / 2)
    np.testing.assert_array_equal(run.layers.weight_min.isel(layer=0), np.arange(stop))
    return stop


@pytest.mark.parametrize(
    ("end", "code", "stored"),
    [("SIGKILL", -9, False), ("SIGKILL", -9, True), ("SIGTERM", -15, False), ("os._exit(7)", 7, False)],
)
def test_a_sudden_end_loses_at_most_the_last_seconds(begin, tmp_path, request, end, code, stored):
    place = f"{request.getfixturevalue('bucket')}/run" if stored else tmp_path / "run"
    after = f"if time.monotonic() - start > 2: {end}" if end.startswith("os") else ""
    process = begin(place, after=after)
    if not after:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(2)
        process.send_signal(getattr(signal, end))
    taken, _ = finish(process)
    assert process.returncode == code
    died = taken[-1][1]
    promised = max(steps for steps, at in taken if at <= died - FLUSH - SLACK)
    kept = check(place)
    assert promised <= kept <= taken[-1][0] + 1
    assert promised > 2  # a slow machine takes few steps in that time
    assert open_run(place).state == "interrupted"


HANDLER = "signal.signal(signal.SIGTERM, lambda *_: (recorder.close(), sys.exit(4)))"


@pytest.mark.parametrize(
    ("end", "before", "code"),
    [("SIGINT", "", 1), ("SIGTERM", HANDLER, 4), ("SIGTERM", "signal.signal(15, lambda *_: sys.exit(5))", 5)],
)
def test_an_end_that_python_sees_loses_nothing(begin, tmp_path, end, before, code):
    process = begin(tmp_path / "run", before, flush=600)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(getattr(signal, end))
    taken, errors = finish(process)
    assert process.returncode in (code, -2), errors
    assert check(tmp_path / "run") >= taken[-1][0]
    assert open_run(tmp_path / "run").state == "closed"


def test_a_handler_that_closes_inside_of_a_step_does_not_hang(begin, tmp_path):
    before = """
import faulthandler
faulthandler.dump_traceback_later(150, exit=True)
optimizer.step()
with recorder._recording.parts.background._lock:
    recorder.close()
print(recorder.iteration, 0.0, flush=True)
sys.exit(6)
"""
    process = begin(tmp_path / "run", before, flush=600)
    taken, errors = finish(process)
    assert process.returncode == 6, errors
    assert [steps for steps, _ in taken] == [1]
    assert open_run(tmp_path / "run").state == "closed"


def recorder_of(path, **options):
    torch.manual_seed(0)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recorder(path, model, optimizer, every=1, **options), model, optimizer


def test_a_step_that_is_interrupted_half_recorded_can_be_resumed(tmp_path, monkeypatch):
    recorder, model, optimizer = recorder_of(tmp_path / "run")
    train(model, optimizer, 5, log=recorder.log)
    from deeptracker.tracker.block import Block

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Block, "_add_scalars", interrupted)
        with pytest.raises(KeyboardInterrupt), recorder:
            train(model, optimizer, 1, log=recorder.log)
    with Recorder(tmp_path / "run", model, optimizer, every=1, resume=True) as recorder:
        assert recorder.iteration == 5
        train(model, optimizer, 5, log=recorder.log)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers.iteration, range(10))
    np.testing.assert_array_equal(run.scalars.iteration, range(10))


LIMITED = """
import resource, sys, warnings, torch
from deeptracker import Recorder
torch.set_num_threads(1)
model = torch.nn.Linear(400, 50)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recorder = Recorder(sys.argv[1], model, optimizer, every=1, filters_every=1, on_error=sys.argv[2], flush_seconds=600)
for step in range(60):
    if step == 30:
        recorder.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
    recorder.log(loss=step / 2)
    optimizer.step()
    if step == 45:
        recorder.flush()
recorder.close()
print("trained", recorder.iteration)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="the system cannot limit files")
@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_disk_that_takes_no_more_is_told_once_and_what_was_there_stays(tmp_path, on_error):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "run", on_error],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr.count("has stopped at iteration 46: OSError: [Errno 27] File too large") == 1, done.stderr
    if on_error == "warn":
        assert (done.returncode, done.stdout) == (0, "trained 60\n")
        assert done.stderr.count("Warning") == 1
    else:
        assert done.returncode == 1
        assert "RecordingError" in done.stderr
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars.loss, np.arange(30) / 2)
    np.testing.assert_array_equal(run.filters.iteration, range(30))
    assert run.state == "interrupted"


def test_a_folder_that_vanishes_is_told_once_and_training_goes_on(tmp_path):
    recorder, model, optimizer = recorder_of(tmp_path / "run", on_error="warn")
    losses = train(model, optimizer, 10, log=recorder.log)
    recorder.flush()
    (tmp_path / "run").rename(tmp_path / "moved")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        losses += train(model, optimizer, 10, log=recorder.log, seen=lambda _: recorder.flush(), first=10)
        recorder.close()
    assert ["has stopped at iteration" in str(one.message) for one in caught] == [True]
    np.testing.assert_array_equal(open_run(tmp_path / "moved").scalars.loss, losses[:10])
    _, model, optimizer = recorder_of(tmp_path / "other")
    assert losses == train(model, optimizer, 20)


def test_a_place_that_refuses_is_told_at_once(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(RunWriter, "_publish", refuse)
    with pytest.raises(RunAccessError, match=r"Read-only file system.*writable"):
        recorder_of(tmp_path / "run")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recorder, model, optimizer = recorder_of(tmp_path / "run", on_error="warn")
        with recorder:
            losses = train(model, optimizer, 5, log=recorder.log)
            recorder.snapshot()
            with recorder.validation() as validation:
                validation.log([1], logits=torch.zeros(1, 3), targets=[0])
            assert recorder.iteration == 5
    assert ["Read-only file system" in str(one.message) for one in caught] == [True]
    torch.manual_seed(0)
    model = small()
    assert losses == train(model, torch.optim.SGD(model.parameters(), lr=0.1), 5)


def test_the_second_recorder_on_a_path_is_refused_by_name(begin, tmp_path):
    process = begin(tmp_path / "run")
    assert process.stdout is not None
    process.stdout.readline()
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RunLockedError, match=f"process {process.pid} on {os.uname().nodename}"):
        Recorder(tmp_path / "run", model, optimizer, resume=True)
    deadline = time.monotonic() + 30
    while not open_run(tmp_path / "run").scalars.sizes.get("iteration"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    finish(process)
    kept = check(tmp_path / "run")
    with Recorder(tmp_path / "run", model, optimizer, resume=True) as recorder:
        assert recorder.iteration == kept


MEMORY = """
import sys, time, torch
from deeptracker import Recorder
from deeptracker.data_model.writer import RunWriter
torch.set_num_threads(1)
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) >> 10
append = RunWriter.append_layers
RunWriter.append_layers = lambda *given: (time.sleep(0.2), append(*given))
model = torch.nn.Sequential(*(torch.nn.Linear(512, 32) for _ in range(60)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Recorder(sys.argv[1], model, optimizer, every=1, filters_every=1) as recorder:
    for step in range(500):
        optimizer.step()
        if step % 10 == 0:
            recorder.snapshot()  # 4 MB each, and none is waited for but by the bound
        if step == 150:
            warm = most = resident()
        elif step > 150 and step % 20 == 0:
            most = max(most, resident())
    print(warm, most)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the memory like this")
def test_memory_is_bounded_while_the_disk_cannot_follow(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "run"], capture_output=True, text=True, timeout=300, check=True
    )
    warm, most = map(int, done.stdout.split())
    # 140 MB of snapshots and 40 MB of rows are to be written after that point.
    assert most - warm < 64, f"{most - warm} MB more while the disk falls behind"
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers.iteration, range(500))
    assert any(note["key"] == "waited for the disk" for note in run.notes)
