"""Ctrl-C at any moment of a step: the next step is recorded as ever, nothing hangs, and the run closes whole."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from deeptracker import open_run

# Raises KeyboardInterrupt at the first place of a step where a signal may be handled, in the next step but one at the
# second, and so on. CPython looks for signals where a function begins and after each call.
SCRIPT = """
import dis, functools, json, sys, torch
from deeptracker import Recorder
torch.set_num_threads(1)

@functools.cache
def places(code):
    instructions = list(dis.get_instructions(code))
    looks = lambda one: one.opname == "RESUME" or one.opname.startswith("CALL")
    return {after.offset for one, after in zip(instructions, instructions[1:]) if looks(one)}

def trace(frame, event, _):
    if event == "call":
        name = frame.f_code.co_filename
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace if "/tracker/" in name or name.endswith("threading.py") else None
    global left
    if event == "opcode" and frame.f_lasti in places(frame.f_code):
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
    return trace

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recorder = Recorder(sys.argv[1], model, optimizer, every=1, filters_every=1, flush_seconds=600)

def step():
    with torch.no_grad():
        model.weight.fill_(recorder.iteration)
    recorder.log(loss=recorder.iteration / 2)
    optimizer.step()

step()
undisturbed, place, interrupted = [0], 0, True
while interrupted:
    place += 1
    left, interrupted = place, False
    sys.settrace(trace)
    try:
        step()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        sys.settrace(None)
    undisturbed.append(recorder.iteration)
    step()
    if recorder._recording.parts.background._lock._is_owned():
        raise SystemExit(f"the writer is locked out for ever, after an interrupt at place {place}")
    recorder.flush()
recorder.close()
print(json.dumps([place, undisturbed]))
"""


def test_a_step_may_be_interrupted_anywhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "run"], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    places, undisturbed = json.loads(done.stdout)
    assert places > 100
    run = open_run(tmp_path / "run")
    iterations, layers = np.asarray(run.scalars.iteration), run.layers.load()
    # Steps in between, and the one behind the last place, which nothing interrupted.
    assert set(undisturbed) <= set(iterations.tolist())
    for family in (layers, run.filters):
        assert set(undisturbed) <= set(np.asarray(family.iteration).tolist())
    losses = np.asarray(run.scalars.loss)
    known = np.isin(iterations, undisturbed)
    np.testing.assert_array_equal(losses[known], iterations[known] / 2)
    assert (np.isnan(losses) | (losses == iterations / 2)).all()
    np.testing.assert_array_equal(layers.weight_min.isel(layer=0), np.asarray(layers.iteration))
    assert run.state == "closed"
