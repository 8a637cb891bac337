"""The faults: each one small entry that says where it is, how long it lasts, and what it does to a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.faults.training import BATCH, Training

Injection = Callable[[Training], Iterator[None]]
ALWAYS = 10**9
HIDDEN = (2, 3, 5)
"""Numbers of the convolutions that faults of a layer are put into; the fourth has a shortcut around it."""

PLACES = ("run", "layer", "class", "validation")


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where: `place` is one of `PLACES`; it is found in time up to `within` iterations later.

    `lasts` is in iterations. `beside` are the blocks before (-1) and behind (1) a layer that it breaks too; `normed`
    says that it needs batch norm, `at_start` that it is there from the first iteration. One for `practice` is no part
    of the benchmark: rules may be tried on it as often as one likes.
    """

    name: str
    inject: Injection
    place: str
    lasts: int
    within: int
    beside: tuple[int, ...]
    normed: bool
    at_start: bool
    practice: bool = False


FAULTS: list[Fault] = []


def fault(
    place: str,
    lasts: int = ALWAYS,
    within: int = 400,
    beside: tuple[int, ...] = (),
    normed: bool = False,
    at_start: bool = False,
    practice: bool = False,
) -> Callable[[Injection], Injection]:
    """Enter a function into the catalogue; it breaks the training, yields while the fault lasts, and mends it."""

    def enter(inject: Injection) -> Injection:
        name = inject.__name__
        FAULTS.append(Fault(name, inject, place, lasts, within, beside, normed, at_start, practice))
        return inject

    return enter


def number_of(training: Training) -> int:
    """Return the number of the convolution that a fault of a layer is put into."""
    return HIDDEN[training.seed % len(HIDDEN)]


def layer_of(training: Training) -> str:
    """Return the layer that a fault of a layer is put into."""
    return f"conv{number_of(training)}"


def class_of(training: Training) -> int:
    """Return the class that a fault of a class is put into."""
    return (training.seed * 3 + 1) % 10


@fault("run", lasts=200)
def learning_rate_times_10(training: Training) -> Iterator[None]:
    training.rate_factor = 10
    yield
    training.rate_factor = 1


@fault("run", lasts=1)
def learning_rate_times_100_once(training: Training) -> Iterator[None]:
    training.rate_factor = 100
    yield
    training.rate_factor = 1


@fault("run")
def loss_explodes_to_nan(training: Training) -> Iterator[None]:
    def double() -> None:
        training.loss_factor *= 2

    training.on_step = double
    yield


@fault("layer", lasts=500)
def frozen_layer(training: Training) -> Iterator[None]:
    for one in training.layer(layer_of(training)).parameters():
        one.requires_grad_(False)
        one.grad = None
    yield
    for one in training.layer(layer_of(training)).parameters():
        one.requires_grad_(True)


@fault("layer", beside=(1,))
def dead_relu_by_bias(training: Training) -> Iterator[None]:
    number = number_of(training)
    module = training.layer(f"norm{number}" if training.kind.normed else f"conv{number}")
    with torch.no_grad():
        bias = module.bias
        assert isinstance(bias, torch.nn.Parameter)
        bias[: len(bias) * 6 // 10] = -10
    yield


@fault("layer", within=1000, normed=True, at_start=True)
def vanishing_gradient_by_initialisation(training: Training) -> Iterator[None]:
    """Weights a hundred times too large: behind batch norm the gradient is a hundred times too small."""
    with torch.no_grad():
        for one in training.layer(layer_of(training)).parameters():
            one.mul_(100)
    yield


@fault("layer", lasts=60)
def exploding_gradient_in_a_layer(training: Training) -> Iterator[None]:
    def explode() -> None:
        for one in training.layer(layer_of(training)).parameters():
            assert one.grad is not None
            one.grad.mul_(30)

    training.on_gradient = explode
    yield
    training.on_gradient = lambda: None


@fault("layer", lasts=300, beside=(1,))
def saturating_weights(training: Training) -> Iterator[None]:
    weight = next(training.layer(layer_of(training)).parameters())
    bound = float(weight.detach().abs().max())

    @torch.no_grad()
    def push() -> None:
        weight.mul_(1.03).clamp_(-bound, bound)

    training.on_step = push
    yield
    training.on_step = lambda: None


@fault("class", lasts=300)
def labels_of_a_class_shuffled(training: Training) -> Iterator[None]:
    number = class_of(training)

    def shuffle(rows: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        wrong = torch.randint(0, 10, targets.shape, generator=training.random)
        return images, torch.where(targets == number, wrong, targets)

    training.on_batch = shuffle
    yield
    training.on_batch = lambda rows, images, targets: (images, targets)


@fault("class", within=600)
def class_removed(training: Training) -> Iterator[None]:
    others = torch.nonzero(training.digits.targets != class_of(training)).flatten()
    training.pick = lambda: others[torch.randint(0, len(others), (BATCH,), generator=training.random)]
    yield


@fault("run", lasts=3)
def corrupt_batches(training: Training) -> Iterator[None]:
    def corrupt(rows: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return 5 * torch.randn(images.shape, generator=training.random), targets

    training.on_batch = corrupt
    yield
    training.on_batch = lambda rows, images, targets: (images, targets)


@fault("validation", within=600, normed=True)
def wrong_batch_norm_momentum(training: Training) -> Iterator[None]:
    """The running statistics are those of the last batch."""
    for module in training.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    yield


@fault("validation")
def validation_set_broken(training: Training) -> Iterator[None]:
    training.on_validation = lambda images: 1 - images
    yield


@fault("run", lasts=400)
def gradients_not_zeroed(training: Training) -> Iterator[None]:
    training.zeroing = lambda: training.iteration % 4 == 0
    yield
    training.zeroing = lambda: True


@fault("run", within=600)
def order_stuck_on_four_batches(training: Training) -> Iterator[None]:
    batches = [training.next_rows() for _ in range(4)]
    training.pick = lambda: batches[training.iteration % 4]
    yield


@fault("validation", within=600)
def overfitting(training: Training) -> Iterator[None]:
    """Training goes on with 64 images only, as they are."""
    few = torch.randperm(len(training.digits.images), generator=training.random)[:64]
    training.pick = lambda: few[torch.randint(0, 64, (BATCH,), generator=training.random)]
    training.augmented = False
    yield


def entered(one: Fault, training: Training) -> AbstractContextManager[None]:
    """Return the fault as a context, for this training."""
    return contextmanager(one.inject)(training)
