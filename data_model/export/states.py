"""The states of images in blocks of images and validations, as `Run.image_states` counts them, to be exported."""

from __future__ import annotations

import numpy as np

from deeptracker.data_model.export.choice import IMAGES, Choice
from deeptracker.data_model.export.records import chosen_images
from deeptracker.data_model.export.source import Source
from deeptracker.data_model.images import Images
from deeptracker.data_model.state_query import image_states

ROWS = 600
"""Rows that are made at least, of as many images, where no number is given."""


def states(images: Images, choice: Choice, whole: tuple[int, int]) -> Source:
    """Return `count` over (`bucket`, `row`, `state`) of the chosen images, all of it in memory.

    `first_image` is the number of a row's first image, `images` how many it has, and `image` its name where every row
    has one only.
    """
    assert choice.buckets is not None
    rows, window = choice.rows or ROWS, choice.window(whole)
    numbers = chosen_images(images, choice)
    groups = None if numbers is None else _groups(numbers, rows)
    at = None if choice.iterations is None else window
    dataset = image_states(images.states(), images.axis, len(images.ids), groups, at, rows, choice.buckets)
    if groups is not None:
        dataset = dataset.assign_coords(first_image=("row", np.array([group[0] for group in groups], np.int64)))
    if dataset.sizes["row"] and bool((dataset["images"] == 1).all()):
        dataset = dataset.assign_coords(image=("row", images.ids[dataset["first_image"].values]))
    return Source(IMAGES, dataset.transpose("bucket", "row", "state"), "bucket")


def _groups(numbers: np.ndarray[tuple[int], np.dtype[np.int64]], rows: int) -> list[list[int]]:
    """Put as many images side by side as make enough rows."""
    size = max(1, len(numbers) // rows)
    return [numbers[start : start + size].tolist() for start in range(0, len(numbers), size)]
