"""Small RGB pictures of the validation images, made from the tensors that the network saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deeptracker.data_model.errors import RecordingError

LARGEST = 64
"""Pixels of a thumbnail's longer side, at most."""

MOST_BYTES = 64 << 20
"""Bytes of all thumbnails that one recorder keeps; images after that have none, which is noted."""


def check_images(images: Tensor, count: int) -> None:
    """Raise RecordingError unless these are `count` grey or RGB images."""
    shape = tuple(images.shape)
    grey = images.ndim == 3
    if len(images) != count or not (grey or (images.ndim == 4 and shape[1] in (1, 3))) or 0 in shape[1:]:
        raise RecordingError(
            f"images has shape {shape} for {count} ids; give (images, channels, height, width) with 1 or 3 channels, "
            "or (images, height, width)."
        )


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of a thumbnail: the image's own, or as much smaller as fits."""
    scale = max(height, width, LARGEST) / LARGEST
    return max(round(height / scale), 1), max(round(width / scale), 1)


def thumbnails(images: Sequence[Tensor], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return uint8 (image, height, width, 3) of a common size.

    Each image is (channel, height, width) or (height, width). Values of uint8 are taken as they are, floats within
    0 to 1 are scaled to 0 to 255, and any others (normalised inputs) are stretched from their own minimum to maximum.
    """
    return np.stack([_thumbnail(image, size) for image in images])


def _thumbnail(image: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    picture = _scaled(image if image.ndim == 3 else image[None])
    if tuple(picture.shape[1:]) != size:
        picture = functional.adaptive_avg_pool2d(picture, size)
    picture = picture.expand(3, -1, -1).permute(1, 2, 0)
    return picture.round().clamp(0, 255).to(torch.uint8).numpy()


def _scaled(image: Tensor) -> Tensor:
    if image.dtype == torch.uint8:
        return image.float()
    picture = torch.nan_to_num(image.float(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(picture.min()), float(picture.max())
    if low >= 0 and high <= 1:
        return picture * 255
    return (picture - low) * (255 / max(high - low, 1e-12))
