"""How each kind of recorded data lies in the store: its group, dimensions, chunks and shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS, SCALARS

VALIDATION, SNAPSHOTS = "validation", "snapshots"

ENTITY = {SCALARS: "scalar", LAYERS: "layer", FILTERS: "filter", ACTIVATIONS: "layer", CLASSES: "class"}
"""The families: what each is made of, besides statistics and iterations."""

OF_STEPS = frozenset(ENTITY) - {CLASSES}
"""The families with a record for an iteration; all else is of what training had come to after one."""

_SCALAR_ROOM, _LAYER_ROOM, _FILTER_ROOM = 64, 8, 64
"""The fewest entities that a chunk has room for: more may join later, and its size is fixed when recording starts."""

_FILTER_CHUNK = 512
_IMAGE_CHUNK = 500
_WEIGHT_CHUNK = 1 << 16

MISSING_RESULT = -1
"""Stands in `predicted` and `rank` for an image that a validation did not see."""


def family_value(family: str, statistics: int, entities: int) -> Field:
    """Describe the records of a family: (statistic, entity, record).

    One inner chunk holds one statistic of many entities, so that a picture of one statistic reads nothing else.
    """
    many = min(max(entities, _FILTER_ROOM), _FILTER_CHUNK)
    room = {SCALARS: _SCALAR_ROOM, FILTERS: many, CLASSES: many}
    chunk = room.get(family, max(entities, _LAYER_ROOM))
    shard = chunk * max(1, -(-entities // chunk))
    return Field(
        "value",
        "float64" if family == SCALARS else "float32",
        np.nan,
        ("statistic", ENTITY[family]),
        (statistics, entities),
        (1, chunk),
        (max(1, statistics), shard),
        record_last=True,
        meaning="NaN where nothing was recorded",
        bitwise=True,
    )


def validation_fields(images: int) -> Sequence[Field]:
    """Describe the results of validations: (validation, image)."""
    shard = _IMAGE_CHUNK * max(1, -(-images // _IMAGE_CHUNK))

    def per_image(name: str, dtype: str, fill: float, meaning: str) -> Field:
        return Field(name, dtype, fill, ("image",), (images,), (_IMAGE_CHUNK,), (shard,), meaning=meaning)

    return (
        per_image("predicted", "int32", MISSING_RESULT, "class the image was taken for; -1: not validated"),
        per_image("probability", "float32", np.nan, "probability given to the true class"),
        per_image("rank", "int32", MISSING_RESULT, "rank of the true class, 0 when it came first; -1: not validated"),
    )


def snapshot_field(weights: int) -> Field:
    """Describe the snapshots: layers' weights, flattened and one after the other, (snapshot, weight).

    The manifest's `snapshot_layers` say which layers, in which order.
    """
    chunk = _WEIGHT_CHUNK
    shard = chunk * max(1, -(-weights // chunk))
    return Field(
        "weights",
        "float32",
        np.nan,
        ("weight",),
        (weights,),
        (chunk,),
        (shard,),
        meaning="weights of the layers that snapshot_layers names in the run's attributes; NaN where one was not kept",
    )
