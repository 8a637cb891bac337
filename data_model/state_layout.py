"""How the states of images lie in the store: codes per image and validation, and counts of blocks of them.

`states/level_0` has one record per validation: `images_0`, the code of every image, and `images_1`, `images_2`, ...,
counts of groups of 16, 64, ... neighbouring images. `states/level_1` and above hold counts too, each bucket of level k
summing 8**k validations, for the same groups of images. A count is four numbers, see `image_states.COUNTED`.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.image_states import COUNTED, MEANINGS, NEVER, count_dtype
from deeptracker.data_model.reduction import FACTOR

STATES = "states"

FIRST_SPAN, SPAN_FACTOR = 16, 4
"""Images of a group of the first level, and groups of one level in one of the next. A count of four bytes for fewer
than 16 images would be no quicker to read than their codes."""

FEWEST_GROUPS = 64
"""There is no level with fewer groups than this: the level below it is as quick to read."""

_CHUNK_BYTES = 1 << 17


def span_of(level: int) -> int:
    """Return how many images an entity of an image level stands for.

    >>> [span_of(level) for level in range(4)]
    [1, 16, 64, 256]
    """
    return FIRST_SPAN * SPAN_FACTOR ** (level - 1) if level else 1


def image_levels(images: int) -> int:
    """Return how many image levels, the images themselves included, a run that begins with `images` gets."""
    return next(level for level in count(1) if -(-images // span_of(level)) < FEWEST_GROUPS)


def entities_of(images: int, level: int) -> int:
    """Return how many groups of an image level `images` make."""
    return -(-images // span_of(level))


def state_fields(images: int, levels: int, records: int) -> list[Field]:
    """Describe the records of `level_0`, in shards of `records` validations: codes, then counts by group of images."""
    words = "; ".join(f"{code}: {meaning}" for code, meaning in MEANINGS.items())
    chunk = _chunk(1, records)
    codes = Field(
        "images_0", "uint8", NEVER, ("image",), (images,), (chunk,), (_shard(images, chunk),), True, f"state; {words}"
    )
    return [codes, *(count_field(images, level, 0, records) for level in range(1, levels))]


def count_field(images: int, image_level: int, level: int, records: int) -> Field:
    """Describe the counts of an image level over buckets of 8**level validations, in shards of `records` buckets."""
    groups, span = entities_of(images, image_level), span_of(image_level)
    dtype = np.dtype(count_dtype(span * FACTOR**level))
    chunk = _chunk(len(COUNTED) * dtype.itemsize, records)
    meaning = f"states of {span} images and {FACTOR**level} validations, counted: {', '.join(COUNTED)}"
    return Field(
        f"images_{image_level}",
        dtype.name,
        0,
        ("counted", f"group_{image_level}" if image_level else "image"),
        (len(COUNTED), groups),
        (len(COUNTED), chunk),
        (len(COUNTED), _shard(groups, chunk)),
        True,
        meaning,
    )


def _chunk(cell_bytes: int, records: int) -> int:
    """Return how many entities a chunk of `records` records has."""
    return max(16, _CHUNK_BYTES // (cell_bytes * records))


def _shard(entities: int, chunk: int) -> int:
    return chunk * max(1, -(-entities // chunk))
