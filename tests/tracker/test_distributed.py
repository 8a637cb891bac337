"""Data parallel training in two processes: rank 0 records, the other rank runs the same script undisturbed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker import ranks
from tests.tracker.networks import batch, small
from tests.tracker.processes import run_ranks
from tests.tracker.test_recorder import assert_layers, watch

STEPS = 5


def train_in_parallel(rank: int, path: Path | None, every: int = 1) -> dict[str, object]:
    """Train as a script does: the same lines on every rank; return what must be the same with and without recorder."""
    torch.manual_seed(0)
    model = DistributedDataParallel(small().eval())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kept, losses = [], []
    look = watch(model.module, kept)
    look(-1)
    recorder = Recorder(path, model, [optimizer], every=every, filters_every=every) if path else None
    for step in range(STEPS):
        x, y = batch(2 * step + rank)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        if recorder:
            recorder.log(loss=loss)
        optimizer.step()
        losses.append(loss.item())
        look(step)
    if recorder:
        assert recorder.iteration == STEPS
        recorder.snapshot()
        recorder.flush()
        recorder.close()
        recorder.close()
    return {"kept": kept, "losses": losses, "random": torch.rand(3), "weights": model.module.state_dict()}


def records_on_rank_0(rank: int, folder: Path) -> None:
    plain = train_in_parallel(rank, None)
    recorded = train_in_parallel(rank, folder / f"run-of-{'all' if rank == 0 else 'nobody'}")
    assert recorded["losses"] == plain["losses"]
    assert torch.equal(recorded["random"], plain["random"])
    for name, weight in plain["weights"].items():
        assert torch.equal(recorded["weights"][name], weight)
    torch.save(recorded, folder / f"rank-{rank}.pt")


def test_rank_0_records_and_the_script_is_the_same_on_all_ranks(tmp_path):
    run_ranks(records_on_rank_0, tmp_path, tmp_path)
    kept = torch.load(tmp_path / "rank-0.pt", weights_only=False)
    other = torch.load(tmp_path / "rank-1.pt", weights_only=False)
    run = open_run(tmp_path / "run-of-all")
    assert not (tmp_path / "run-of-nobody").exists()
    assert [layer.name for layer in run.layer_list] == ["0", "4"]
    assert_layers(run, kept["kept"], range(STEPS))
    np.testing.assert_array_equal(run.scalars.loss, kept["losses"])
    # The gradient is that of all ranks: both hold the same, although their batches differ.
    assert kept["losses"] != other["losses"]
    np.testing.assert_array_equal(kept["kept"][1]["4"]["gradient"], other["kept"][1]["4"]["gradient"])
    assert run.state == "closed"


def resumes_and_fails_together(rank: int, path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(path, model, optimizer, resume=True) as recorder:
        assert recorder.iteration == STEPS
    with pytest.raises(RecordingError, match="cannot be resumed" if rank == 0 else "Rank 0 could not open"):
        Recorder(path, other := nn.Linear(2, 2), torch.optim.SGD(other.parameters(), lr=0.1), resume=True)
    # A script that makes its recorder on rank 0 only does not wait for the others.
    if rank == 0:
        with Recorder(path, model, optimizer, resume=True):
            pass
    distributed.barrier()


def test_ranks_resume_together_and_none_waits_when_the_run_cannot_be_opened(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer):
        for _ in range(STEPS):
            optimizer.step()
    run_ranks(resumes_and_fails_together, tmp_path, tmp_path / "run")


def tells(rank: int) -> None:
    assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (rank, 2, rank == 0)
    assert ranks.gather(f"from {rank}") == (["from 0", "from 1"] if rank == 0 else None)
    assert ranks.from_first(f"from {rank}") == "from 0"
    announcement = ranks.Announcement()
    if rank == 1:
        from datetime import timedelta

        with pytest.raises(RecordingError, match="has waited 0 s for the recorder of rank 0"):
            announcement.hear(timedelta(milliseconds=100))
    distributed.barrier()


def test_ranks_talk_to_each_other_and_do_not_wait_for_ever(tmp_path):
    run_ranks(tells, tmp_path)


def test_without_a_process_group_the_environment_of_torchrun_tells_the_rank(monkeypatch):
    assert (ranks.rank(), ranks.world_size()) == (0, 1)
    assert ranks.gather(1) == [1]
    assert ranks.from_first(1) == 1
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (3, 4, False)


SCRIPT = """
import sys
import torch
from deeptracker import Recorder
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
early = Recorder(sys.argv[1] + "/early", model, [optimizer], every=1)     # before the process group is made
torch.distributed.init_process_group("gloo")
with early, Recorder(sys.argv[1] + "/late", torch.nn.parallel.DistributedDataParallel(model), [optimizer], every=1):
    for step in range(3):
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
assert early.iteration == 3
torch.distributed.destroy_process_group()
"""


def test_a_script_under_torchrun(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    answer = subprocess.run([*command, script, tmp_path], capture_output=True, text=True, timeout=180)
    assert answer.returncode == 0, answer.stderr
    for name in ("early", "late"):
        run = open_run(tmp_path / name)
        assert run.scalars.sizes["iteration"] == 3
        assert run.state == "closed"
