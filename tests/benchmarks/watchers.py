"""What watches a training in the benchmarks: this recorder, and the tools that people use today.

All three keep the loss, and the weights and gradients of every layer at every iteration: the recorder its statistics,
`wandb.watch` and TensorBoard histograms.
"""

from __future__ import annotations

import os
import statistics
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from time import perf_counter, thread_time
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from deeptracker import Recorder


class Watcher(Protocol):
    """Is told the loss before the optimizer's step, and that the step was taken."""

    def before(self, loss: Tensor) -> None: ...

    def after(self) -> None: ...


class Stopwatch:
    """Adds up what passes between `start` and `stop`, without what the clocks take that are read in between."""

    def __init__(self) -> None:
        self._wall = self._thread = 0.0
        self._own = Spent(0.0, 0.0)
        empty = []
        for _ in range(1000):
            self.start(), self.stop()
            empty.append(self.take())
        self._own = Spent(*map(statistics.median, zip(*empty, strict=True)))

    def start(self, *_: object) -> None:
        self._began_wall = perf_counter()
        self._began_thread = thread_time()

    def stop(self, *_: object) -> None:
        self._thread += thread_time() - self._began_thread - self._own.thread
        self._wall += perf_counter() - self._began_wall - self._own.wall

    def take(self) -> Spent:
        """Return the sums, and begin anew."""
        taken = Spent(self._wall, self._thread)
        self._wall = self._thread = 0.0
        return taken


class Nothing:
    """Watches nothing: the bare training."""

    def before(self, loss: Tensor) -> None:
        """Do nothing."""

    def after(self) -> None:
        """Do nothing."""


class Spent(NamedTuple):
    """Seconds by the clock, and of the thread's CPU time."""

    wall: float
    thread: float

    @classmethod
    def now(cls) -> Spent:
        return cls(perf_counter(), thread_time())

    def since(self, start: Spent) -> Spent:
        return Spent(self.wall - start.wall, self.thread - start.thread)


class DeepTracker:
    """The recorder; it also clocks itself: `inside` is what passed in its hooks and calls, one entry per step."""

    def __init__(self, path: Path, model: nn.Module, optimizer: Optimizer, every: int | str, filters: int) -> None:
        self.inside: list[Spent] = []
        self._watch = watch = Stopwatch()
        # torch calls hooks in the order they came: these two lie around the recorder's own.
        optimizer.register_step_pre_hook(watch.start)
        optimizer.register_step_post_hook(watch.start)
        self.recorder = Recorder(path, model, optimizer, every=every, filters_every=filters)  # type: ignore[arg-type]
        optimizer.register_step_pre_hook(watch.stop)
        optimizer.register_step_post_hook(watch.stop)

    def before(self, loss: Tensor) -> None:
        self._watch.start()
        self.recorder.log(loss=loss)
        self._watch.stop()

    def after(self) -> None:
        self.inside.append(self._watch.take())


class TensorBoard:
    """`add_histogram` of every weight and gradient."""

    def __init__(self, path: Path, model: nn.Module) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        self.writer = SummaryWriter(str(path))
        self._weights = [(name, one) for name, one in model.named_parameters() if name.endswith("weight")]
        self._step, self._loss = 0, torch.zeros(())

    def before(self, loss: Tensor) -> None:
        self._loss = loss

    def after(self) -> None:
        self.writer.add_scalar("loss", self._loss.item(), self._step)
        for name, weight in self._weights:
            self.writer.add_histogram(f"weight/{name}", weight, self._step)
            self.writer.add_histogram(f"gradient/{name}", weight.grad, self._step)
        self._step += 1


class Wandb:
    """`wandb.watch` of everything at every step, offline; its own process, which writes, is not counted."""

    def __init__(self, path: Path, model: nn.Module) -> None:
        import wandb

        path.mkdir()
        self.run = wandb.init(project="benchmark", dir=path, mode="offline", settings=wandb.Settings(silent=True))
        self.run.watch(model, log="all", log_freq=1)
        self._loss = torch.zeros(())

    def before(self, loss: Tensor) -> None:
        self._loss = loss

    def after(self) -> None:
        self.run.log({"loss": self._loss.item()})


@contextmanager
def watching(
    name: str, path: Path, model: nn.Module, optimizer: Optimizer, every: int | str, filters: int
) -> Iterator[Watcher]:
    """Attach a watcher by its name ("" for none) that writes to `path`, and close it in the end."""
    if name == "DeepTracker":
        watcher = DeepTracker(path, model, optimizer, every, filters)
        yield watcher
        watcher.recorder.close()
    elif name == "TensorBoard":
        board = TensorBoard(path, model)
        yield board
        board.writer.close()
    elif name == "wandb":
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            rival = Wandb(path, model)
        yield rival
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            rival.run.finish()
    else:
        yield Nothing()
