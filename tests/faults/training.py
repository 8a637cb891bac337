"""One training with a fault in it: a plain loop with the places at which faults can take hold, recorded in full."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from deeptracker.tracker.demo_data import CLASSES, Digits, augment, load_digits
from deeptracker.tracker.recorder import Recorder
from tests.faults.networks import SmallNet

BATCH, VALIDATE_EVERY, FILTERS_EVERY = 16, 25, 4
WARM_UP = 200


@dataclass(frozen=True)
class Kind:
    """A kind of training: with batch norm or without, by SGD or Adam, on a schedule of the learning rate."""

    normed: bool
    adam: bool
    schedule: str
    rate: float


KINDS = (
    Kind(True, False, "constant", 0.05),
    Kind(True, False, "drops", 0.1),
    Kind(True, True, "warm-up and cosine", 0.003),
    Kind(False, False, "cosine", 0.03),
    Kind(False, True, "constant", 0.001),
)


def rate_at(kind: Kind, iteration: int, iterations: int) -> float:
    """Return the learning rate of an iteration."""
    share = iteration / iterations
    if kind.schedule == "drops":
        return kind.rate * 0.2 ** ((share >= 0.3) + (share >= 0.85))
    if kind.schedule == "constant":
        return kind.rate
    warm = min(1.0, (iteration + 1) / WARM_UP) if kind.schedule.startswith("warm-up") else 1.0
    return kind.rate * warm * 0.5 * (1 + math.cos(math.pi * 0.95 * share))


class Training:
    """The state of a training, which a fault changes while it lasts.

    `rate_factor` and `loss_factor` multiply the learning rate and the loss; `pick` returns the rows of the next batch,
    `on_batch` changes (images, targets) of a batch, `on_gradient` acts between backward and step, `on_step` after the
    step, `on_validation` changes validation images; `zeroing` says whether gradients are zeroed before an iteration.
    """

    def __init__(self, kind: Kind, seed: int) -> None:
        torch.manual_seed(seed)
        self.kind, self.seed = kind, seed
        self.digits: Digits = load_digits(seed)
        self.model = SmallNet(kind.normed)
        self.random = torch.Generator().manual_seed(seed)
        self.iteration = 0
        self.rate_factor = self.loss_factor = 1.0
        self.augmented = True
        self.zeroing: Callable[[], bool] = lambda: True
        self.pick: Callable[[], Tensor] = self.next_rows
        self.on_batch: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda rows, x, y: (x, y)
        self.on_gradient: Callable[[], None] = lambda: None
        self.on_step: Callable[[], None] = lambda: None
        self.on_validation: Callable[[Tensor], Tensor] = lambda x: x
        self._order = torch.empty(0, dtype=torch.int64)

    def next_rows(self) -> Tensor:
        """Return rows such that every training image is seen once an epoch."""
        if len(self._order) < BATCH:
            self._order = torch.randperm(len(self.digits.images), generator=self.random)
        rows, self._order = self._order[:BATCH], self._order[BATCH:]
        return rows

    def layer(self, name: str) -> nn.Module:
        """Return a layer's module."""
        return self.model.get_submodule(name)

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer of this kind of training."""
        parameters = self.model.parameters()
        if self.kind.adam:
            return torch.optim.Adam(parameters, self.kind.rate, fused=True)
        return torch.optim.SGD(parameters, self.kind.rate, momentum=0.9, weight_decay=5e-4, fused=True)


def train(
    path: Path,
    training: Training,
    iterations: int,
    fault: AbstractContextManager[None],
    span: tuple[int, int],
    parameters: dict[str, object],
) -> None:
    """Train and record; the fault is entered at iteration `span[0]` and left at `span[1]`."""
    optimizer = training.optimizer()
    torch.manual_seed(training.seed)
    with Recorder(
        path,
        training.model,
        optimizer,
        every=1,
        filters_every=FILTERS_EVERY,
        snapshots=False,
        flush_seconds=60,
        classes=CLASSES,
        parameters=parameters,
    ) as recorder:
        for iteration in range(iterations):
            training.iteration = iteration
            if iteration == span[0]:
                fault.__enter__()
            _step(training, optimizer, recorder, rate_at(training.kind, iteration, iterations))
            if iteration % VALIDATE_EVERY == VALIDATE_EVERY - 1:
                _validate(training, recorder)
            if iteration + 1 == span[1] and span[0] < span[1]:
                fault.__exit__(None, None, None)


def _step(training: Training, optimizer: torch.optim.Optimizer, recorder: Recorder, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * training.rate_factor
    rows = training.pick()
    images = training.digits.images[rows]
    if training.augmented:
        images = augment(images, training.random)
    images, targets = training.on_batch(rows, images, training.digits.targets[rows])
    loss = functional.cross_entropy(training.model(images), targets) * training.loss_factor
    if training.zeroing():
        optimizer.zero_grad()
    loss.backward()
    training.on_gradient()
    recorder.log(loss=loss)
    optimizer.step()
    training.on_step()


@torch.no_grad()
def _validate(training: Training, recorder: Recorder) -> None:
    digits, model = training.digits, training.model
    model.eval()
    logits = model(training.on_validation(digits.validation_images))
    model.train()
    with recorder.validation() as validation:
        validation.log(digits.validation_ids, logits=logits, targets=digits.validation_targets)
