"""Small RGB pictures of the validation images: of what the network saw, of pictures, or of their files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deeptracker.data_model.errors import RecordingError

LARGEST = 64
"""Pixels of a thumbnail's longer side, at most."""

MOST_BYTES = 64 << 20
"""Bytes of all thumbnails of a run; images after that have none, which is noted."""

_CHANNELS = (1, 3, 4)

Picture = NDArray[np.uint8]


class Thumbnails:
    """Makes a picture of each image once, all of one size, until their bytes are used up."""

    def __init__(self, pictured: Iterable[str] = (), size: tuple[int, int] | None = None) -> None:
        """Continue a run that has thumbnails of some images, (height, width) each."""
        self._pictured = set(pictured)
        self._size = size
        self.left_out = 0
        """Images so far that found no room."""
        self.unreadable: dict[str, str] = {}
        """What was wrong with the pictures that could not be read, by id."""

    def make(self, ids: Sequence[str], images: Any) -> dict[str, Picture]:
        """Return uint8 (height, width, 3) for those of the images that lack a thumbnail.

        `images` is a batch of tensors or arrays, or one tensor, array, PIL image or path per id. RecordingError where
        it does not fit the ids; a picture that cannot be read is left out, and is in `unreadable`.
        """
        check_images(images, len(ids))
        made: dict[str, Picture] = {}
        for number, name in enumerate(ids):
            if name not in self._pictured and name not in self.unreadable:
                picture = self._picture(name, images[number])
                if picture is not None:
                    made[name] = picture
        return made

    def forget(self, ids: Iterable[str]) -> None:
        """Make the pictures of these images again: those made before are not kept."""
        self._pictured.difference_update(ids)

    def _picture(self, name: str, image: Any) -> Picture | None:
        if self._size is not None and (len(self._pictured) + 1) * self._size[0] * self._size[1] * 3 > MOST_BYTES:
            self.left_out += 1
            return None
        try:
            plain = _channels_first(_read(image))
        except (OSError, ValueError, SyntaxError, ImportError) as error:  # What Pillow raises for damaged files.
            if not self.unreadable:
                warnings.warn(f"No thumbnail of image {name!r}: {error}", RuntimeWarning, stacklevel=6)
            self.unreadable[name] = str(error)[:200]
            return None
        self._size = self._size or thumbnail_size(*plain.shape[1:])
        self._pictured.add(name)
        return thumbnail(plain, self._size)


def check_images(images: Any, count: int) -> None:
    """Raise RecordingError unless these are `count` images, each grey, RGB or RGBA."""
    batch = isinstance(images, Tensor | np.ndarray)
    shape = tuple(images.shape) if batch else ()
    pictures = shape[1:] if batch else (1, 1)
    channels = len(pictures) == 2 or (len(pictures) == 3 and (pictures[0] in _CHANNELS or pictures[2] in _CHANNELS))
    if len(images) != count or not channels or 0 in pictures:
        given = f"images has shape {shape}" if batch else f"{len(images)} images were given"
        raise RecordingError(
            f"{given} for {count} ids; give (images, channels, height, width) with 1, 3 or 4 channels, (images, "
            "height, width), or a list of one tensor, array, PIL image or path for each id."
        )


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of a thumbnail: the image's own, or as much smaller as fits."""
    scale = max(height, width, LARGEST) / LARGEST
    return max(round(height / scale), 1), max(round(width / scale), 1)


def thumbnail(image: Tensor, size: tuple[int, int]) -> Picture:
    """Return uint8 (height, width, 3) of a (channel, height, width) image, with margins where its shape is another.

    Values of uint8 are taken as they are, floats within 0 to 1 are scaled to 0 to 255, and any others (normalised
    inputs) are stretched from their own minimum to maximum.
    """
    picture = _scaled(image[:3])
    scale = min(size[0] / picture.shape[1], size[1] / picture.shape[2])
    height, width = (min(max(round(side * scale), 1), most) for side, most in zip(picture.shape[1:], size, strict=True))
    if (height, width) != tuple(picture.shape[1:]):
        picture = functional.adaptive_avg_pool2d(picture, (height, width))
    canvas = torch.zeros(3, *size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    canvas[:, top : top + height, left : left + width] = picture
    return canvas.permute(1, 2, 0).round_().clamp_(0, 255).to(torch.uint8).contiguous().numpy()


def _scaled(image: Tensor) -> Tensor:
    if image.dtype == torch.uint8:
        return image.float()
    picture = torch.nan_to_num(image.float(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(picture.min()), float(picture.max())
    if low >= 0 and high <= 1:
        return picture * 255
    return (picture - low) * (255 / max(high - low, 1e-12))


def _read(image: Any) -> Tensor | NDArray[Any]:
    """Return a picture's pixels; of a file and of a PIL image as RGB."""
    if isinstance(image, Tensor):
        return image.detach().cpu()
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, str | os.PathLike):
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise ImportError("thumbnails of files need Pillow: pip install pillow") from error
        with Image.open(image) as opened:
            opened.draft("RGB", (2 * LARGEST, 2 * LARGEST))
            return np.array(opened.convert("RGB"))
    if hasattr(image, "convert"):
        return np.array(image.convert("RGB"))
    raise RecordingError(f"An image is a {type(image).__name__}; give a tensor, an array, a PIL image or a path.")


def _channels_first(image: Tensor | NDArray[Any]) -> Tensor:
    """Return (channel, height, width): tensors usually come like that, arrays with the channels last."""
    shape = tuple(image.shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise RecordingError(f"An image has shape {shape}; give (channels, height, width) or (height, width).")
    plain = image if isinstance(image, Tensor) else torch.from_numpy(np.ascontiguousarray(image))
    if plain.ndim == 2:
        return plain[None]
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if not (first or last):
        raise RecordingError(f"An image has shape {shape}; give 1, 3 or 4 channels, as its first or last axis.")
    return plain if first and (isinstance(image, Tensor) or not last) else plain.permute(2, 0, 1)
