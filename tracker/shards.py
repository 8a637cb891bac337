"""Which part of which layer this rank holds, where weights are sharded over ranks (FSDP2, tensor parallelism).

A sharded weight is a DTensor. Its part on a rank is a rectangular block of it, which `Measure` measures like a layer
of its own; here is where that block lies in the whole: which filters, and which of the sampled values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker import ranks
from deeptracker.tracker.layers import RecordedLayer

SAMPLE = 1024
"""Values of a tensor that its quartiles are taken from, as many as in `quartiles`."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class LocalLayer(RecordedLayer):
    """A part of a layer's weight that lies on this rank: `count` of its local rows, from `first` on."""

    first: int = 0
    count: int = 0

    @property
    def weight(self) -> Tensor:
        """The part as it is now, an alias of its memory that has the part of the gradient as its gradient."""
        whole = super().weight
        part = self._part(whole)
        if whole.grad is not None:
            part.grad = self._part(whole.grad).to(part.dtype)
        return part

    def _part(self, tensor: Tensor) -> Tensor:
        with torch.no_grad():
            local: Tensor = tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
            return local.detach().reshape(local.shape or (1,)).narrow(0, self.first, self.count)


@dataclass(frozen=True)
class Piece:
    """A part of a layer, and where it lies in the layer as it is recorded, with the filters on the first axis."""

    number: int
    """Of the layer."""
    local: LocalLayer
    origin: tuple[int, ...]
    filters: int
    """Of the part: its rows; 0 where the layer has none."""

    def sampled(self, whole: tuple[int, ...], sample: Indices) -> tuple[Indices, Indices]:
        """Return which of a sample (flat places in the whole) lie in the part, and their flat places there."""
        shape = self.local.layer.shape
        places = [at - start for at, start in zip(np.unravel_index(sample, whole), self.origin, strict=True)]
        inside = np.logical_and.reduce([(at >= 0) & (at < size) for at, size in zip(places, shape, strict=True)])
        chosen = np.flatnonzero(inside)
        flat = np.ravel_multi_index([at[chosen] for at in places], shape)
        return chosen.astype(np.int64), flat.astype(np.int64)


def is_sharded(tensor: Tensor | None) -> bool:
    """Return whether a tensor is a DTensor, of which every rank holds a part."""
    return tensor is not None and hasattr(tensor, "placements") and hasattr(tensor, "device_mesh")


def any_sharded(model: nn.Module) -> bool:
    """Return whether a model has sharded parameters."""
    return any(is_sharded(one) for one in model.parameters())


def samples(layers: Sequence[RecordedLayer], seed: int = 0) -> list[Indices]:
    """Return where each layer is sampled for its quartiles: the same places on every rank and at every iteration."""
    random = np.random.default_rng(seed)
    return [
        np.sort(random.choice(one.size, SAMPLE, replace=False)) if one.size > SAMPLE else np.arange(one.size)
        for one in layers
    ]


def find_pieces(layers: Sequence[RecordedLayer]) -> list[Piece]:
    """Return the parts that this rank measures: of sharded weights its own, of all others the whole on rank 0.

    RecordingError for weights that are sharded in a way that has no rectangular parts.
    """
    return [piece for number, recorded in enumerate(layers) for piece in _pieces(number, recorded)]


def _pieces(number: int, recorded: RecordedLayer) -> Iterator[Piece]:
    weight = recorded.weight
    if is_sharded(weight):
        offset, shape = _block(recorded, weight)
    elif ranks.is_first():
        offset, shape = [0] * max(weight.ndim, 1), list(weight.shape) or [1]
    else:
        return
    if 0 in shape:
        return
    if recorded.groups == 0:
        yield _piece(number, recorded, 0, shape[0], tuple(shape), tuple(offset))
        return
    # A transposed convolution has its inputs on the first axis, those of one group behind those of the other, and
    # the outputs of a group on the second: a part of the inputs is a part of the columns of the group's filters.
    inputs = weight.shape[0] // recorded.groups
    outputs = weight.shape[1]
    at, end = offset[0], offset[0] + shape[0]
    while at < end:
        group = at // inputs
        stop = min(end, (group + 1) * inputs)
        arranged = (shape[1], stop - at, *shape[2:])
        origin = (group * outputs + offset[1], at - group * inputs, *offset[2:])
        yield _piece(number, recorded, at - offset[0], stop - at, arranged, origin)
        at = stop


def _piece(
    number: int, recorded: RecordedLayer, first: int, count: int, shape: tuple[int, ...], origin: tuple[int, ...]
) -> Piece:
    filters = shape[0] if recorded.layer.filters else 0
    layer = replace(recorded.layer, shape=shape, filters=filters)
    given = {name: getattr(recorded, name) for name in recorded.__dataclass_fields__}
    given |= {"layer": layer, "groups": min(recorded.groups, 1), "size": int(np.prod(shape))}
    return Piece(number, LocalLayer(**given, first=first, count=count), origin, filters)


def _block(recorded: RecordedLayer, weight: Tensor) -> tuple[list[int], list[int]]:
    """Return offset and shape of this rank's part of a DTensor; an empty one where another rank has the same part."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    placements, mesh = weight.placements, weight.device_mesh  # type: ignore[attr-defined]
    for placement in placements:
        if type(placement) not in (Replicate, Shard):
            raise RecordingError(
                f"Layer {recorded.layer.name!r} is sharded as {placement}; DeepTracker can put together weights that "
                "are sharded or replicated along each dimension of the device mesh."
            )
    place = mesh.get_coordinate()
    copies = [at for at, placement in zip(place or [], placements, strict=False) if type(placement) is Replicate]
    if place is None or any(copies):
        return [0] * weight.ndim, [0] * weight.ndim
    shape, offset = compute_local_shape_and_global_offset(weight.shape, mesh, placements)
    return list(offset), list(shape)
