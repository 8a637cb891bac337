"""Data loader workers beside a live recorder: they neither record, nor close the run, nor hang."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from deeptracker import Recorder, open_run
from tests.tracker.networks import batch, small

ROUNDS = 2


class Batches(Dataset):
    """Whole batches by number; with a recorder, its workers try to use it as a careless script would."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.recorder = recorder

    def __len__(self) -> int:
        return 6

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.recorder is not None:
            self.recorder.log(loss=1e9)
            self.recorder.snapshot()
            self.recorder.flush()
            self.recorder.close()
        return batch(step)


def loaded(dataset: Dataset, method: str, persistent: bool) -> DataLoader:
    context = torch.multiprocessing.get_context(method)
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
        persistent_workers=persistent,
        timeout=60,
    )


def train(recorder: Recorder | None, model, optimizer, loader) -> list[float]:
    losses = []
    for _ in range(ROUNDS):
        for x, y in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            if recorder:
                recorder.log(loss=loss)
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(("method", "persistent"), [("fork", False), ("fork", True), ("spawn", False)])
def test_workers_leave_the_run_alone(tmp_path, method, persistent):
    outcomes = []
    for path in (None, tmp_path / "run"):
        torch.manual_seed(0)
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recorder = Recorder(path, model, optimizer, every=1, flush_seconds=0.05) if path else None
        # Only a forked worker can hold the recorder: it cannot be pickled.
        dataset = Batches(recorder if method == "fork" else None)
        outcomes.append(train(recorder, model, optimizer, loaded(dataset, method, persistent)))
        if recorder:
            assert recorder.iteration == 6 * ROUNDS
            assert open_run(path).state == "recording"
            recorder.close()
    assert outcomes[0] == outcomes[1]
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars.loss, outcomes[1])
    assert run.state == "closed"
