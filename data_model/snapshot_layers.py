"""Which layers each snapshot holds, and where in the flat weights of a snapshot each of them lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.vocabulary import Layer


class SnapshotLayers:
    """Grows with the snapshots: layers may join, and a snapshot may hold some of them only.

    A layer keeps its place in the flat weights for good. So a snapshot from before it came is simply shorter.
    """

    def __init__(self, order: Sequence[int] = (), sets: Sequence[tuple[int, Sequence[int]]] = ()) -> None:
        """Take the layers in the order of their weights, and (first snapshot, its layers) wherever they changed."""
        self.order = [int(layer) for layer in order]
        self._sets = [(int(first), tuple(int(layer) for layer in layers)) for first, layers in sets]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"order": self.order, "sets": [[first, list(layers)] for first, layers in self._sets]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], layers: int) -> SnapshotLayers:
        """Rebuild what `to_json` returned; ValueError where it contradicts itself or the run's number of layers."""
        found = cls(value["order"], value["sets"])
        firsts = [first for first, _ in found._sets]
        known = set(found.order)
        if (
            len(known) != len(found.order)
            or not known <= set(range(layers))
            or any(not set(held) <= known for _, held in found._sets)
            or firsts != sorted(set(firsts))
        ):
            raise ValueError(f"snapshots of {layers} layers cannot be {value}")
        return found

    def add(self, snapshot: int, layers: Sequence[int]) -> None:
        """Say which layers the snapshot of that number holds; snapshots come in order."""
        if len(set(layers)) != len(layers):
            raise RecordingError(f"A snapshot holds a layer twice: {list(layers)}. Give each layer once.")
        if not self._sets or self._sets[-1][1] != tuple(layers):
            self._sets.append((snapshot, tuple(layers)))
        self.order.extend(layer for layer in layers if layer not in self.order)

    def truncate(self, snapshots: int) -> None:
        """Forget the snapshots from that number on; the places of their layers stay."""
        self._sets = [(first, layers) for first, layers in self._sets if first < snapshots]

    def weights(self, layers: Sequence[Layer]) -> int:
        """Return the length of the flat weights."""
        return sum(layers[number].size for number in self.order)

    def place(self, layer: int, layers: Sequence[Layer]) -> slice:
        """Return where in the flat weights a layer lies; ValueError where it is in no snapshot."""
        before = self.order[: self.order.index(layer)]
        start = sum(layers[number].size for number in before)
        return slice(start, start + layers[layer].size)

    def holding(self, layer: int, snapshots: int) -> NDArray[np.int64]:
        """Return the numbers of the snapshots, of that many, which hold a layer."""
        stops = [first for first, _ in self._sets[1:]] + [snapshots]
        spans = [range(first, stop) for (first, held), stop in zip(self._sets, stops, strict=True) if layer in held]
        return np.array([number for span in spans for number in span], np.int64)
