"""The demo training: a small residual CNN on real handwritten digits, with everything recorded at every iteration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from deeptracker.tracker.demo_data import CLASSES, Digits, augment, load_digits
from deeptracker.tracker.demo_network import DigitsNet
from deeptracker.tracker.recorder import Recorder

ITERATIONS = 6400
BATCH = 32
VALIDATE_EVERY = 50
LEARNING_RATE = 0.1
DROPS = (0.4, 0.7, 0.9)
DROP_FACTOR = 0.2


def train_demo(
    path: str | os.PathLike[str], iterations: int = ITERATIONS, progress: bool = True, seed: int = 0
) -> float:
    """Train the demo network, record everything into a new run at `path`, and return its validation accuracy.

    Takes about three minutes on two cores for the default number of iterations. The learning rate drops to a fifth at
    four, seven and nine tenths of the way. Ctrl-C ends it early; what was recorded stays. Raises ImportError
    where scikit-learn is missing, and what `Recorder` raises.
    """
    digits = load_digits(seed)
    with _single_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _train(path, digits, iterations, progress, seed)


def _train(path: str | os.PathLike[str], digits: Digits, iterations: int, progress: bool, seed: int) -> float:
    model = DigitsNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4)
    drops = [round(share * iterations) for share in DROPS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=DROP_FACTOR)
    parameters = {
        "data": "scikit-learn digits, 8x8",
        "batch size": BATCH,
        "optimizer": "SGD, momentum 0.9, weight decay 5e-4",
        "learning rate": LEARNING_RATE,
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
        activations=True,
        activations_every=10,
        flush_seconds=2,
        classes=CLASSES,
        parameters=parameters,
    ) as recorder:
        for x, y in _batches(digits, iterations, progress, seed):
            if recorder.iteration % VALIDATE_EVERY == 0:
                accuracy = _validate(model, digits, recorder)
            logits = model(x)
            loss = functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            recorder.log(loss=loss, error=(logits.detach().argmax(1) != y).float().mean())
            optimizer.step()
            schedule.step()
        accuracy = _validate(model, digits, recorder)
    return accuracy


def _batches(digits: Digits, iterations: int, progress: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented batches, every image once per epoch, with a progress bar on the terminal."""
    from tqdm import tqdm

    random = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for _ in tqdm(range(iterations), desc="training", unit="it", disable=not progress):
        if len(order) < BATCH:
            order = torch.randperm(len(digits.images), generator=random)
        rows, order = order[:BATCH], order[BATCH:]
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
