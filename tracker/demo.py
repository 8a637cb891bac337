"""The demo training: a small CNN on real handwritten digits, with everything recorded at every iteration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deeptracker.tracker.demo_data import CLASSES, Digits, augment, load_digits
from deeptracker.tracker.demo_network import DigitsNet, TinyNet
from deeptracker.tracker.recorder import Recorder

DROPS = (0.4, 0.7, 0.9)
DROP_FACTOR = 0.2


@dataclass(frozen=True)
class Course:
    """A network, and how the demo trains and records it."""

    network: Callable[[], nn.Module]
    iterations: int
    batch: int
    learning_rate: float
    validate_every: int
    activations_every: int
    """0: activations are not recorded."""


COURSES = {
    "residual": Course(DigitsNet, 6400, 32, 0.1, 50, 10),
    "tiny": Course(TinyNet, 50_000, 16, 0.05, 1000, 0),
}


def train_demo(
    path: str | os.PathLike[str],
    iterations: int | None = None,
    progress: bool = True,
    seed: int = 0,
    network: str = "residual",
) -> float:
    """Train a demo network, record everything into a new run at `path`, and return its validation accuracy.

    `network` is one of `COURSES`, which says how many iterations it is trained for by itself: the residual one takes
    about three minutes on two cores for them; the tiny one is for long runs, of a million iterations if you like. The
    learning rate drops to a fifth at four, seven and nine tenths of the way. Ctrl-C ends it early; what was recorded
    stays. Raises ImportError where scikit-learn is missing, and what `Recorder` raises.
    """
    course = COURSES[network]
    digits = load_digits(seed)
    with _single_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _train(path, digits, course, iterations or course.iterations, progress, seed)


def _train(
    path: str | os.PathLike[str], digits: Digits, course: Course, iterations: int, progress: bool, seed: int
) -> float:
    model = course.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=course.learning_rate, momentum=0.9, weight_decay=5e-4)
    drops = {round(share * iterations) for share in DROPS}
    parameters = {
        "data": "scikit-learn digits, 8x8",
        "batch size": course.batch,
        "optimizer": "SGD, momentum 0.9, weight decay 5e-4",
        "learning rate": course.learning_rate,
        "iterations": iterations,
        "seed": seed,
    }
    accuracy = 0.0
    with Recorder(
        path,
        model,
        optimizer,
        every=1,
        filters_every=1,
        activations=course.activations_every > 0,
        activations_every=course.activations_every or "auto",
        flush_seconds=2,
        classes=CLASSES,
        parameters=parameters,
    ) as recorder:
        for x, y in _batches(digits, course.batch, iterations, progress, seed):
            if recorder.iteration % course.validate_every == 0:
                accuracy = _validate(model, digits, recorder)
            if recorder.iteration in drops:
                optimizer.param_groups[0]["lr"] *= DROP_FACTOR
            logits = model(x)
            loss = functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            recorder.log(loss=loss, error=(logits.detach().argmax(1) != y).float().mean())
            optimizer.step()
        accuracy = _validate(model, digits, recorder)
    return accuracy


def _batches(digits: Digits, size: int, iterations: int, progress: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented batches, every image once per epoch, with a progress bar on the terminal."""
    from tqdm import tqdm

    random = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for _ in tqdm(range(iterations), desc="training", unit="it", disable=not progress):
        if len(order) < size:
            order = torch.randperm(len(digits.images), generator=random)
        rows, order = order[:size], order[size:]
        yield augment(digits.images[rows], random), digits.targets[rows]


@torch.no_grad()
def _validate(model: nn.Module, digits: Digits, recorder: Recorder) -> float:
    """Record what the network makes of every validation image; return the share that is right."""
    model.eval()
    logits = model(digits.validation_images)
    model.train()
    with recorder.validation() as validation:
        validation.log(
            digits.validation_ids,
            logits=logits,
            targets=digits.validation_targets,
            images=digits.validation_images,
        )
    return float((logits.argmax(1) == digits.validation_targets).float().mean())


@contextmanager
def _single_thread() -> Iterator[None]:
    """One thread: for tensors this small, sharing the work costs more than doing it; the other core serves the app."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
