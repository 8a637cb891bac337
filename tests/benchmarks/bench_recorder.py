"""What recording costs: steps with and without the recorder, taken in turns in one process.

Prints, per network, the median step without and with recording, what recording adds to it (wall clock, and CPU time
of the training thread, which other programs on the machine disturb less), what it adds to the CPU time of the whole
process, background thread included, and the bytes on disk per iteration.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder
from deeptracker.tracker.demo_network import BasicBlock, DigitsNet

Step = Callable[[], None]


class ResNet18(nn.Sequential):
    """ResNet-18 as used for 32x32 images: a 3x3 stem, four stages of two blocks."""

    def __init__(self) -> None:
        stages, inputs = [], 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            stages += [BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)]
            inputs = outputs
        stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        super().__init__(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Cost(NamedTuple):
    """Seconds of one step, by the clock, of the training thread's CPU time, and of the whole process's."""

    wall: float
    thread: float
    process: float


def training(model: nn.Module, shape: tuple[int, ...]) -> tuple[torch.optim.Optimizer, list[Recorder], Step]:
    """Return an optimizer, a list that may hold a recorder, and a function that takes one step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, y = torch.randn(shape), torch.randint(0, 10, shape[:1])
    recorders: list[Recorder] = []

    def step() -> None:
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        for recorder in recorders:
            recorder.log(loss=loss)
        optimizer.step()

    return optimizer, recorders, step


def timed(step: Step) -> Cost:
    """Take one step."""
    start = time.perf_counter(), time.thread_time(), time.process_time()
    step()
    return Cost(time.perf_counter() - start[0], time.thread_time() - start[1], time.process_time() - start[2])


def bench(name: str, model: nn.Module, shape: tuple[int, ...], steps: int, filters_every: int) -> None:
    """Print one row of the table."""
    optimizer, recorders, recorded = training(model, shape)
    _, _, bare = training(type(model)(), shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with Recorder(path, model, optimizer, every=1, filters_every=filters_every) as recorder:
            recorders.append(recorder)
            for _ in range(3):
                recorded(), bare()
            on, off = [], []
            for number in range(steps):
                for on_turn in (True, False) if number % 2 else (False, True):
                    (on if on_turn else off).append(timed(recorded if on_turn else bare))
            iterations = recorder.iteration
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    without, with_recorder = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in (off, on))
    # The background thread works in bursts, which a median would not see: the process's time is compared in all.
    process = sum(cost.process for cost in on) / sum(cost.process for cost in off)
    cells = (
        1e3 * without.wall,
        1e3 * with_recorder.wall,
        100 * (with_recorder.wall / without.wall - 1),
        100 * (with_recorder.thread / without.thread - 1),
        100 * (process - 1),
        size / iterations / 1e3,
    )
    print(f"{name:32s}" + "".join(f"{cell:10.2f}" for cell in cells), flush=True)


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("every layer at every iteration; one torch thread; medians of steps taken in turns")
    heads = ("off ms", "on ms", "wall %", "thread %", "process %", "kB / it")
    print(f"{'network':32s}" + "".join(f"{head:>10s}" for head in heads))
    bench("digits CNN, every filter", DigitsNet(), (32, 1, 8, 8), 400, 1)
    bench("digits CNN, filters every 16th", DigitsNet(), (32, 1, 8, 8), 400, 16)
    bench("ResNet-18 32x32, batch 32", ResNet18(), (32, 3, 32, 32), 24, 16)


if __name__ == "__main__":
    main()
