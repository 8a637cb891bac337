"""What recording costs on a CUDA device: steps of ResNet-50 with and without the recorder, in turns of one process.

`wall` compares the median turn by the clock, the device waited for at its end: everything counts. `device` is what the
recorder's own work took the device, by its events, `host` what passed in the recorder's hooks and calls on the host;
both as shares of the bare step. The host works ahead of the device, so what it does costs nothing until it is the
slower of the two. The floor is what any recorder must move: weights, gradients and previous weights read, and the
weights written anew, measured as copies of as many bytes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from networks import ResNet50
from torch.nn import functional
from watchers import watching

from deeptracker.tracker import assembly
from deeptracker.tracker.device.measure import DeviceMeasure
from deeptracker.tracker.device.steps import DeferredSteps
from deeptracker.tracker.layers import find_layers

GOAL = 2.0
"""Percent of the step that recording may take."""
TURN = 4
TURNS = 15


@dataclass(frozen=True)
class Case:
    """How ResNet-50 is trained at 224x224; `triton` says whether the fused kernels measure, or torch's operations."""

    batch: int
    half: bool
    filters: int
    triton: bool = True

    @property
    def name(self) -> str:
        """What the table calls it."""
        kind = "bfloat16, channels last" if self.half else "float32 (TF32)"
        filters = "every filter" if self.filters == 1 else f"filters every {self.filters}th"
        return f"batch {self.batch}, {kind}, {filters}, {'Triton' if self.triton else 'torch'}"


CASES = (
    Case(64, False, 1),
    Case(64, False, 16),
    Case(64, True, 1),
    Case(64, True, 16),
    Case(256, True, 1),
    Case(64, True, 1, triton=False),
)


@dataclass
class Side:
    """One training: the bare one, or the recorded one."""

    step: Any
    watcher: Any
    seconds: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Take some steps, and clock one."""
        torch.cuda.synchronize()
        start = perf_counter()
        for _ in range(TURN):
            self.step()
        torch.cuda.synchronize()
        self.seconds.append((perf_counter() - start) / TURN)


def make_side(case: Case, name: str, path: Path, stack: ExitStack) -> Side:
    """Start a training, watched by what is named ("": by nothing)."""
    torch.manual_seed(0)
    layout = torch.channels_last if case.half else torch.contiguous_format
    model = ResNet50().cuda().to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x = torch.randn(case.batch, 3, 224, 224, device="cuda").to(memory_format=layout)
    y = torch.randint(0, 1000, (case.batch,), device="cuda")
    watcher = stack.enter_context(watching(name, path, model, optimizer, 1, case.filters))

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16) if case.half else nullcontext():
            loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        watcher.before(loss)
        optimizer.step()
        watcher.after()

    return Side(step, watcher)


def floor() -> float:
    """Return the seconds that moving as many bytes takes as a record must."""
    moved = 16 * sum(layer.size for layer in find_layers(ResNet50()))
    source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    target.copy_(source)
    began.record()
    for _ in range(20):
        target.copy_(source)
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) / 20e3


def bench(case: Case, least: float) -> None:
    """Train in turns, and print what recording cost."""
    device: list[float] = []
    plain = assembly._measuring

    class Clocked(DeviceMeasure):
        def wait(self) -> float:
            device.append(super().wait())
            return device[-1]

    def measuring(layers: Any, exchange: Any) -> Any:
        kernels = plain(layers, exchange)[0]._fused if case.triton else None
        return Clocked(layers, torch.device("cuda", 0), kernels), DeferredSteps

    assembly._measuring = measuring
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
            bare, ours = (make_side(case, name, Path(folder) / (name or "none"), stack) for name in ("", "DeepTracker"))
            for side in (bare, ours, bare, ours):
                side.turn()
            bare.seconds.clear(), ours.seconds.clear(), device.clear(), ours.watcher.inside.clear()
            for number in range(TURNS):
                for side in (bare, ours) if number % 2 else (ours, bare):
                    side.turn()
            host = statistics.median(one.thread for one in ours.watcher.inside)
    finally:
        assembly._measuring = plain
    step, with_us = statistics.median(bare.seconds), statistics.median(ours.seconds)
    took = statistics.fmean(device)
    share = 100 * (with_us / step - 1)
    cells = (1e3 * step, share, 100 * took / step, 100 * host / step, 1e3 * took, 1e3 * host, 1e3 * least, took / least)
    verdict = f"  <= {GOAL:g} %: {'yes' if share <= GOAL else 'MISSED'}"
    print(f"{case.name:58s}" + "".join(f"{cell:10.2f}" for cell in cells) + verdict, flush=True)


def main() -> None:
    """Print the table; say so where there is no CUDA device."""
    if not torch.cuda.is_available():
        print("not run: no CUDA device is here")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; ResNet-50 at 224x224, every layer at every step")
    heads = ("step ms", "wall %", "device %", "host %", "device ms", "host ms", "floor ms", "x floor")
    print(f"{'':58s}" + "".join(f"{head:>10s}" for head in heads) + "  goal, of wall %", flush=True)
    least = floor()
    for case in CASES[: int(sys.argv[1])] if len(sys.argv) > 1 else CASES:
        bench(case, least)


if __name__ == "__main__":
    main()
