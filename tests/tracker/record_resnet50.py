"""Take optimizer steps of a ResNet-50, bare and recorded, and print the memory that recording takes.

Run: python tests/tracker/record_resnet50.py FOLDER STEPS. Prints, as JSON, by how many megabytes the peak of the
process's memory rose over that of the bare steps, and how many the weights take. The gradients are made up: recording
reads them, wherever they come from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn

from deeptracker import Recorder
from tests.benchmarks.networks import ResNet50
from tests.peak import forget_peak, peak
from tests.tracker.networks import small


def prepared(model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)


def record(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Record all statistics of all layers and filters at every step."""
    with Recorder(path, model, optimizer, every=1, filters_every=1, biases=True, flush_seconds=1.0) as recorder:
        for step in range(steps):
            recorder.log(loss=1 / (step + 1))
            optimizer.step()


def main() -> None:
    torch.set_num_threads(1)
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    # What code takes is there before, and does not grow with the network.
    record(folder / "small", *prepared(small()), 100)
    model, optimizer = prepared(ResNet50())
    optimizer.step()
    forget_peak()
    for _ in range(10):
        optimizer.step()
    bare = peak()
    record(folder / "resnet50", model, optimizer, steps)
    weights = sum(parameter.numel() for parameter in model.parameters()) * 4 / 2**20
    print(json.dumps({"rise": peak() - bare, "weights": weights}))


if __name__ == "__main__":
    main()
