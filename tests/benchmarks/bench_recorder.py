"""What recording costs: steps with and without the recorder, taken in turns in one process.

Prints, per network, the median step with and without recording everything at every iteration, the share that
recording adds to the training thread, and the bytes written per iteration. CPU time of the whole process counts the
background thread too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from deeptracker import Recorder
from deeptracker.tracker.demo_network import BasicBlock, DigitsNet

ROUNDS, STEPS = 12, 8


class ResNet18(nn.Sequential):
    """ResNet-18 as used for 32x32 images: a 3x3 stem, four stages of two blocks."""

    def __init__(self) -> None:
        stages, inputs = [], 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            stages += [BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)]
            inputs = outputs
        stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        super().__init__(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


Step = Callable[[], None]


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


def timed(step: Step) -> tuple[list[float], float]:
    """Return the wall time of each of some steps, and the process's CPU time of all."""
    walls, cpu = [], time.process_time()
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        walls.append(time.perf_counter() - start)
    return walls, time.process_time() - cpu


def bench(name: str, model: nn.Module, shape: tuple[int, ...], filters_every: int) -> None:
    """Print one row of the table."""
    optimizer, recorders, step = training(model, shape)
    bare_optimizer, _, bare = training(type(model)(), shape)
    del bare_optimizer
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with Recorder(path, model, optimizer, every=1, filters_every=filters_every) as recorder:
            recorders.append(recorder)
            for warm in (step, bare):
                timed(warm)
            on: list[float] = []
            off: list[float] = []
            shares, cpu_on, cpu_off = [], 0.0, 0.0
            for round_number in range(ROUNDS):
                pair = [(step, True), (bare, False)]
                for function, recorded in pair if round_number % 2 else pair[::-1]:
                    walls, cpu = timed(function)
                    (on if recorded else off).extend(walls)
                    cpu_on, cpu_off = (cpu_on + cpu, cpu_off) if recorded else (cpu_on, cpu_off + cpu)
                shares.append(statistics.median(on[-STEPS:]) / statistics.median(off[-STEPS:]) - 1)
            iterations = recorder.iteration
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(
        f"{name:34s} {1e3 * statistics.median(off):9.2f} {1e3 * statistics.median(on):9.2f} "
        f"{100 * statistics.median(shares):7.1f} {100 * (cpu_on / cpu_off - 1):7.1f} {size / iterations / 1e3:9.1f}"
    )


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    print(f"everything recorded at every iteration; {ROUNDS} x {STEPS} steps each way in turns, medians")
    print(f"{'network':34s} {'off ms':>9s} {'on ms':>9s} {'wall %':>7s} {'CPU %':>7s} {'kB / it':>9s}")
    torch.set_num_threads(1)
    bench("digits CNN, batch 32, 1 thread", DigitsNet(), (32, 1, 8, 8), 1)
    bench("digits CNN, filters every 16th", DigitsNet(), (32, 1, 8, 8), 16)
    torch.set_num_threads(2)
    bench("ResNet-18 32x32, batch 32", ResNet18(), (32, 3, 32, 32), 16)


if __name__ == "__main__":
    main()
