"""The demo's data: scikit-learn's real handwritten digits, split into training and validation images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CLASSES = tuple(str(digit) for digit in range(10))
VALIDATION_SHARE = 0.2
NOISE = 0.3


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 8, 8) float32 in 0 to 1, their classes int64, and each validation image's stable id."""

    images: Tensor
    targets: Tensor
    validation_images: Tensor
    validation_targets: Tensor
    validation_ids: tuple[str, ...]


def load_digits(seed: int) -> Digits:
    """Return the 1,797 digits (UCI ML Repository, Alpaydin and Kaynak 1998), split evenly over the classes.

    ImportError, saying what to install, where scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits as load
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError('The demo needs scikit-learn: pip install "deeptracker[demo]".') from error
    data = load()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    targets = torch.tensor(data.target, dtype=torch.int64)
    train, held_out = train_test_split(
        range(len(images)), test_size=VALIDATION_SHARE, stratify=data.target, random_state=seed
    )
    held_out = sorted(held_out)
    ids = tuple(f"digits/{number:04d}" for number in held_out)
    return Digits(images[train], targets[train], images[held_out], targets[held_out], ids)


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """Return the images moved by up to one pixel each way, with noise that makes single images hard."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (1, 1, 1, 1))
    down = torch.randint(0, 3, (count, 1), generator=random) + torch.arange(height)
    across = torch.randint(0, 3, (count, 1), generator=random) + torch.arange(width)
    number = torch.arange(count)[:, None, None]
    moved = padded[number, 0, down[:, :, None], across[:, None, :]][:, None]
    return moved + NOISE * torch.randn(images.shape, generator=random)
