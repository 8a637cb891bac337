"""`kill -9` at random moments of a real training: what was committed is there, exact, and the training resumes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from deeptracker import Recorder, open_run

KILLS = 5

# The loss that is logged, the rate and the weights are formulas of the iteration, so that every record can be checked.
SCRIPT = """
import sys, torch
from deeptracker import Recorder
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
with Recorder(sys.argv[1], model, optimizer, every=1, filters_every=2, flush_seconds=0.1, resume=True) as recorder:
    while True:
        at = recorder.iteration
        if at % 20 == 0:
            with recorder.validation() as validation:
                true = [0, at // 20 % 3]
                validation.log(["a", "b"], logits=torch.eye(3)[:2], targets=true, images=torch.ones(2, 5, 5))
        optimizer.zero_grad(set_to_none=False)
        for group in optimizer.param_groups:
            group["lr"] = 1 / (1 + at)
        with torch.no_grad():
            model[0].weight.fill_(at)
        recorder.log(loss=at / 2)
        optimizer.step()
        if recorder.iteration % 10 == 0:
            print(recorder.iteration, flush=True)
"""


def check(path: Path) -> int:
    """Every record equals its formula, in every family; return how many iterations there are."""
    run = open_run(path)
    stop = run.scalars.sizes.get("iteration", 0)
    if not stop:
        return 0
    iterations = np.arange(stop)
    np.testing.assert_array_equal(run.scalars.iteration, iterations)
    np.testing.assert_array_equal(run.scalars.loss, iterations / 2)
    np.testing.assert_array_equal(run.scalars.learning_rate, 1 / (1 + iterations))
    np.testing.assert_array_equal(run.layers.iteration, iterations)
    np.testing.assert_array_equal(run.layers.weight_max.isel(layer=0), iterations)
    np.testing.assert_array_equal(run.filters.iteration, iterations[::2])
    validations = np.asarray(run.validation.iteration)
    np.testing.assert_array_equal(validations, np.arange(len(validations)) * 20)
    assert (np.asarray(run.validation.predicted) == [0, 1]).all()
    return stop


def test_kill_several_times_then_open_and_resume(tmp_path):
    path, chance = tmp_path / "run", random.Random(0)
    done = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline(), "the training did not start"
            time.sleep(chance.uniform(0.1, 1.5))
            os.kill(process.pid, signal.SIGKILL)
        before, done = done, check(path)
        assert done >= before, "what was committed before is gone"
        assert open_run(path).state == "interrupted"
    assert done > 50
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 3))
    with Recorder(path, model, torch.optim.SGD(model.parameters(), lr=1.0), resume=True) as recorder:
        assert recorder.iteration == done
    assert open_run(path).state == "closed"
    assert check(path) == done
