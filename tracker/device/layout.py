"""How the weights of many layers are cut up to be measured on a device: rows, pieces of rows, sampled values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.quartiles import SAMPLE, Sampler

PIECE = 2048
"""Values of a piece, at most: what one program of the fused kernel sums up. Its counts have room for 32,767."""


Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Fixed for a network: all tensors lie on the device. A layer without filters is one row.

    `layer_of`, `start` and `length` (int64, one entry per piece) say where a piece lies in its layer's values;
    `row_pieces` and `layer_rows` (one entry more than rows and layers) where each row's pieces and each layer's rows
    begin. `most_pieces` is how many a row has at most, and `filter_rows` the rows that are filters. `samples`, int64
    (layer, 1024), are the places of the values that quartiles are taken from; -1: none. Places count values as they
    lie in memory.
    """

    sizes: tuple[int, ...]
    rows_by_layer: tuple[int, ...]
    rows: int
    layer_of: Tensor
    start: Tensor
    length: Tensor
    most_pieces: int
    row_pieces: Tensor
    layer_rows: Tensor
    row_lengths: Tensor
    filter_rows: Tensor
    samples: Tensor

    @classmethod
    def of(cls, layers: Sequence[RecordedLayer], device: torch.device) -> Layout:
        """Cut up the layers."""
        sizes = np.array([one.size for one in layers], np.int64)
        with_filters = np.array([one.layer.filters > 0 for one in layers])
        rows = np.array([max(one.layer.filters, 1) for one in layers], np.int64)
        widths = sizes // rows
        pieces = -(-widths // PIECE)
        row_layer = np.repeat(np.arange(len(layers)), rows)
        row_within = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
        row_pieces = pieces[row_layer]
        begin = np.cumsum(row_pieces) - row_pieces
        piece_row = np.repeat(np.arange(len(row_layer)), row_pieces)
        within = (np.arange(row_pieces.sum()) - begin[piece_row]) * PIECE
        layer_of = row_layer[piece_row]
        start = row_within[piece_row] * widths[layer_of] + within
        length = np.minimum(widths[layer_of] - within, PIECE)
        sampler = Sampler(sizes)
        samples = np.full((len(layers), SAMPLE), -1, np.int64)
        for number, (first, last) in enumerate(zip(sampler.offsets[:-1], sampler.offsets[1:], strict=True)):
            samples[number, : last - first] = sampler.indices[first:last]

        def put(values: Counts) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, np.int64)).to(device)

        return cls(
            tuple(sizes.tolist()),
            tuple(rows.tolist()),
            int(rows.sum()),
            put(layer_of),
            put(start),
            put(length),
            int(row_pieces.max()),
            put(np.append(begin, row_pieces.sum())),
            put(np.append(0, np.cumsum(rows))),
            put(widths[row_layer]),
            put(np.flatnonzero(with_filters[row_layer])),
            put(samples),
        )
