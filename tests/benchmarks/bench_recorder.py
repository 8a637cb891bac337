"""What recording costs: steps of the same network with and without a watcher, taken in turns in one process.

The cost is told twice. `A/B` compares the median step with the recorder to that without: everything counts, noise
of other programs too. `inside` is what passed in the recorder's own hooks and calls, as a share of the median bare
step: it misses what the recorder's use of the caches costs others, and is steady. Both are CPU time of the
training thread; `wall` is A/B by the clock, `background` the process's other CPU time as a share of its bare steps.

The floor is what any recorder must at least do: read weights, gradients and previous weights and write them anew. It
is measured between steps, by numpy's `add` on arrays of the same sizes, which moves as many bytes.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from first_call import first_call
from networks import ResNet18, ResNet50
from torch import nn
from torch.nn import functional
from watchers import Spent, watching

from deeptracker.data_model.run import open_run
from deeptracker.tracker.demo_network import DigitsNet
from deeptracker.tracker.layers import find_layers

RIVALS = ("TensorBoard", "wandb")


_LAST = 32
"""Steps from which the share at a chosen interval is taken: a multiple of the intervals that are powers of two."""


@dataclass(frozen=True)
class Case:
    """A network and how it is trained; `goal` is the share of the step that recording may take, in percent."""

    name: str
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    steps: int
    goal: float
    every: int | str = 1
    filters: int = 1
    rivals: tuple[str, ...] = ()
    burst: int = 1
    """Steps at a time: more where the caches hold what a training works on, for other trainings empty them, and where
    the recorder clocks the steps, for it would take others for its own."""


CASES = (
    Case("digits CNN", DigitsNet, (32, 1, 8, 8), 300, 3, rivals=RIVALS, burst=20),
    Case("digits CNN, filters every 16th", DigitsNet, (32, 1, 8, 8), 300, 3, filters=16, burst=20),
    Case("ResNet-18 32x32, batch 32", ResNet18, (32, 3, 32, 32), 6, 2),
    Case("ResNet-18, filters every 16th", ResNet18, (32, 3, 32, 32), 30, 2, filters=16, rivals=RIVALS),
    Case("ResNet-50 224x224, batch 8", ResNet50, (8, 3, 224, 224), 6, 2),
    Case("ResNet-50 64x64, batch 8, auto", ResNet50, (8, 3, 64, 64), 120, 4, every="auto", filters=16, burst=10),
)


@dataclass
class Side:
    """One training: the bare one, or one with a watcher."""

    step: Callable[[], None]
    watcher: Any
    path: Path
    spent: list[Spent] = field(default_factory=list)
    process: float = 0.0

    def turn(self) -> None:
        """Take one step, and clock it."""
        start, began = Spent.now(), process_time()
        self.step()
        self.spent.append(Spent.now().since(start))
        self.process += process_time() - began

    @property
    def thread(self) -> float:
        """Median CPU time of a step, in seconds."""
        return statistics.median(one.thread for one in self.spent)

    @property
    def wall(self) -> float:
        """Median time of a step by the clock, in seconds."""
        return statistics.median(one.wall for one in self.spent)


def make_side(case: Case, name: str, path: Path, stack: ExitStack) -> Side:
    """Start a training, watched by what is named ("": by nothing)."""
    torch.manual_seed(0)
    model = case.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, y = torch.randn(case.shape), torch.randint(0, 10, case.shape[:1])
    watcher = stack.enter_context(watching(name, path, model, optimizer, case.every, case.filters))

    def step() -> None:
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        watcher.before(loss)
        optimizer.step()
        watcher.after()

    return Side(step, watcher, path)


class Floor:
    """Moves as many bytes as a record must."""

    def __init__(self, network: Callable[[], nn.Module]) -> None:
        sizes = [layer.size for layer in find_layers(network())]
        self.bytes = 16 * sum(sizes)
        self._arrays = [tuple(np.ones(size, np.float32) for _ in range(3)) for size in sizes]
        self.seconds: list[float] = []

    def measure(self) -> None:
        """Clock it once."""
        start = Spent.now()
        for weight, gradient, before in self._arrays:
            np.add(weight, gradient, out=before)
        self.seconds.append(Spent.now().since(start).thread)


def bench(case: Case) -> None:
    """Train in turns, and print what it cost."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with ExitStack() as stack:
            names = ("", "DeepTracker", *case.rivals)
            bare, ours, *rivals = sides = [
                make_side(case, name, Path(folder) / (name or "nothing"), stack) for name in names
            ]
            floor = Floor(case.network)
            for side in sides:
                side.step(), side.step()
            del ours.watcher.inside[:]
            for number in range(0, case.steps, case.burst):
                for side in sides if number // case.burst % 2 else reversed(sides):
                    for _ in range(case.burst):
                        side.turn()
                    floor.measure()
        sizes = [size_of(side.path) / (case.steps + 2) for side in sides]
        print_cost(case, bare, ours, floor, sizes[1])
        for name, rival, size in zip(case.rivals, rivals, sizes[2:], strict=True):
            print_rival(name, bare, ours, rival, size, sizes[1])
        if case.every == "auto":
            intervals = open_run(ours.path).layers.interval.values
            print(f"    interval chosen: {int(intervals.ravel()[-1])}; records: {len(intervals)}", flush=True)


def print_cost(case: Case, bare: Side, ours: Side, floor: Floor, size: float) -> None:
    """Print one row of the table of costs."""
    # Records at an interval cost nothing in between: a mean tells their share, a median would not.
    last = ours.watcher.inside[-_LAST if case.every == "auto" else 0 :]
    middle = statistics.fmean if case.every == "auto" else statistics.median
    inside = middle(one.thread for one in last)
    record = statistics.median(one.thread for one in last if one.thread > 0.5 * max(inside, 1e-9))
    moved = statistics.median(floor.seconds)
    share = 100 * inside / bare.thread
    cells = (
        1e3 * bare.thread,
        100 * (ours.wall / bare.wall - 1),
        100 * (ours.thread / bare.thread - 1),
        share,
        100 * (ours.process - sum(one.thread for one in ours.spent)) / sum(one.thread for one in bare.spent),
        1e3 * record,
        1e3 * moved,
        record / moved,
        floor.bytes / moved / 1e9,
        size / 1e3,
    )
    verdict = f"  <= {case.goal:g} %: {'yes' if share <= case.goal else 'MISSED'}"
    print(f"{case.name:32s}" + "".join(f"{cell:10.2f}" for cell in cells) + verdict, flush=True)


def print_rival(name: str, bare: Side, ours: Side, rival: Side, size: float, our_size: float) -> None:
    """Print what another tool cost, and how much more that is."""
    inside = statistics.median(one.thread for one in ours.watcher.inside)
    cost = rival.thread - bare.thread
    dearer, larger = cost / inside, size / our_size
    print(
        f"    {name:12s} {100 * cost / bare.thread:8.1f} % of the step, {size / 1e3:8.1f} kB / it; "
        f"{dearer:6.1f} x our time (goal >= 10: {'yes' if dearer >= 10 else 'MISSED'}), "
        f"{larger:6.1f} x our bytes (goal >= 20: {'yes' if larger >= 20 else 'MISSED'})",
        flush=True,
    )


def size_of(path: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main(cases: Iterable[Case] = CASES) -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        seconds = first_call(cache), first_call(cache)
    print(f"first call: {seconds[0]:.2f} s compiling, {seconds[1]:.2f} s from the cache on disk (goal <= 2)")
    print("every layer and filter at every iteration, unless said otherwise; one torch thread; medians")
    heads = (
        "step ms",
        "wall %",
        "A/B %",
        "inside %",
        "backgr. %",
        "record ms",
        "floor ms",
        "x floor",
        "GB/s",
        "kB / it",
    )
    print(f"{'network':32s}" + "".join(f"{head:>10s}" for head in heads) + "  goal, of inside %", flush=True)
    for case in cases:
        bench(case)


if __name__ == "__main__":
    main()
