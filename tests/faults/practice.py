"""Faults to try rules on: unlike those of the benchmark, so that nothing learned from them is learned by heart."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tests.faults.catalogue import FAULTS, class_of, fault, layer_of
from tests.faults.training import BATCH, Training


@fault("run", practice=True)
def labels_partly_random(training: Training) -> Iterator[None]:
    def disturb(rows: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        wrong = torch.randint(0, 10, targets.shape, generator=training.random)
        return images, torch.where(torch.rand(targets.shape, generator=training.random) < 0.3, wrong, targets)

    training.on_batch = disturb
    yield


@fault("class", within=600, practice=True)
def labels_of_a_class_taken_for_the_next(training: Training) -> Iterator[None]:
    number = class_of(training)

    def disturb(rows: Tensor, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        wrong = torch.rand(targets.shape, generator=training.random) < 0.6
        return images, torch.where(wrong & (targets == number), (number + 1) % 10, targets)

    training.on_batch = disturb
    yield


@fault("layer", practice=True)
def steps_of_a_layer_times_5(training: Training) -> Iterator[None]:
    """After each step the layer moves four times as far again."""
    weight = next(training.layer(layer_of(training)).parameters())
    before = weight.detach().clone()

    @torch.no_grad()
    def push() -> None:
        weight.add_(weight - before, alpha=4)
        before.copy_(weight)

    training.on_step = push
    yield


@fault("layer", practice=True)
def noise_on_the_gradient_of_a_layer(training: Training) -> Iterator[None]:
    def disturb() -> None:
        for one in training.layer(layer_of(training)).parameters():
            assert one.grad is not None
            noise = torch.randn(one.grad.shape, generator=training.random)
            one.grad.add_(noise * one.grad.norm() / one.grad.numel() ** 0.5 * 2)

    training.on_gradient = disturb
    yield


@fault("layer", within=600, practice=True)
def weights_of_a_layer_drift(training: Training) -> Iterator[None]:
    weight = next(training.layer(layer_of(training)).parameters())

    @torch.no_grad()
    def push() -> None:
        weight.mul_(1.002)

    training.on_step = push
    yield


@fault("validation", within=600, normed=True, practice=True)
def running_statistics_stand_still(training: Training) -> Iterator[None]:
    for module in training.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    yield


@fault("validation", practice=True)
def validation_images_noisy(training: Training) -> Iterator[None]:
    training.on_validation = lambda images: images + 0.3 * torch.randn(images.shape, generator=training.random)
    yield


@fault("run", practice=True)
def images_darkened(training: Training) -> Iterator[None]:
    training.on_batch = lambda rows, images, targets: (images * 0.4, targets)
    yield


@fault("run", practice=True)
def learning_rate_divided_by_100(training: Training) -> Iterator[None]:
    """Gradients are divided instead, so that the logged rate says nothing; of no effect on Adam but for its start."""

    def divide() -> None:
        for one in training.model.parameters():
            if one.grad is not None:
                one.grad.mul_(0.01)

    training.on_gradient = divide
    yield


@fault("run", within=600, practice=True)
def weight_decay_far_too_strong(training: Training) -> Iterator[None]:
    @torch.no_grad()
    def decay() -> None:
        for one in training.model.parameters():
            if one.ndim > 1:
                one.mul_(0.995)

    training.on_step = decay
    yield


@fault("validation", within=600, practice=True)
def few_images_with_little_change(training: Training) -> Iterator[None]:
    """Training goes on with 128 images, moved about and noisy no more."""
    few = torch.randperm(len(training.digits.images), generator=training.random)[:128]
    training.pick = lambda: few[torch.randperm(128, generator=training.random)[:BATCH]]
    training.augmented = False
    yield


@fault("run", within=600, practice=True)
def batches_in_a_short_circle(training: Training) -> Iterator[None]:
    batches = [training.next_rows() for _ in range(7)]
    training.pick = lambda: batches[training.iteration % 7]
    yield


PRACTICE = [one for one in FAULTS if one.practice]
