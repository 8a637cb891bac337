"""Kernels as small pictures: weights in blue below zero and orange above, all of one filter on one scale."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeptracker.app.theme import Theme, ramp, rgb

MOST_CHANNELS = 16
"""Input channels shown of a kernel, the first ones."""


def kernel_pixels(weights: npt.NDArray[np.float32], theme: Theme) -> list[npt.NDArray[np.uint8]]:
    """Return one picture (height, width, 3) per snapshot of a filter's weights (snapshot, channel, height, width).

    Channels stand in a grid, a pixel of the plot's colour between them; the scale is symmetric about zero.
    """
    shown = weights[:, :MOST_CHANNELS]
    colors = np.array([rgb(color) for color in ramp(theme.diverging, 255)], np.uint8)
    finite = np.isfinite(shown)
    largest = float(np.abs(shown[finite]).max()) if finite.any() else 1.0
    place = np.clip(np.where(finite, shown, 0) / (largest or 1.0) * 127 + 127, 0, 254).round().astype(int)
    count, channels, height, width = shown.shape
    columns = int(np.ceil(np.sqrt(channels)))
    lines = -(-channels // columns)
    pictures = []
    for number in range(count):
        picture = np.empty((lines * (height + 1) - 1, columns * (width + 1) - 1, 3), np.uint8)
        picture[:] = rgb(theme.surface)
        for channel in range(channels):
            top, left = channel // columns * (height + 1), channel % columns * (width + 1)
            picture[top : top + height, left : left + width] = colors[place[number, channel]]
        pictures.append(picture)
    return pictures


def as_png(picture: npt.NDArray[np.uint8]) -> str:
    """Return a picture (height, width, 3) as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def kernel_strip(weights: npt.NDArray[np.float32], theme: Theme) -> list[str]:
    """Return the pictures of a filter's kernels, one data URL per snapshot."""
    return [as_png(picture) for picture in kernel_pixels(weights, theme)]
