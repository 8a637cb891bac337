"""Measuring layers whose weights are sharded over ranks: every rank its part, the first one puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.tracker.exchange import Arrays, Exchange
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.shards import Indices, Piece, find_pieces, samples
from deeptracker.tracker.totals import (
    FILTER_COLUMNS,
    FINITE,
    GRADIENT,
    GRADIENT_QUARTILES,
    LAYER_COLUMNS,
    MAXIMUM,
    MEAN,
    MINIMUM,
    SQUARES,
    WEIGHT_QUARTILES,
    Float64,
)

SPREADS = (0, GRADIENT)


def merge(into: Float64, part: Float64) -> None:
    """Add the rows of one table (see `totals`) to those of another: sums add up, spreads as Chan et al. (1979) do."""
    for at in SPREADS:
        count, more = into[:, at + FINITE].copy(), part[:, at + FINITE]
        total = np.maximum(count + more, 1.0)
        apart = np.where(more > 0, part[:, at + MEAN] - into[:, at + MEAN], 0.0)
        mean = into[:, at + MEAN] + apart * more / total
        squares = into[:, at + SQUARES] + part[:, at + SQUARES] + apart * apart * count * more / total
        low = np.minimum(into[:, at + MINIMUM], part[:, at + MINIMUM])
        high = np.maximum(into[:, at + MAXIMUM], part[:, at + MAXIMUM])
        into[:, at : at + GRADIENT] += part[:, at : at + GRADIENT]
        into[:, at + MEAN], into[:, at + SQUARES] = mean, squares
        into[:, at + MINIMUM], into[:, at + MAXIMUM] = low, high
    into[:, 2 * GRADIENT : FILTER_COLUMNS] += part[:, 2 * GRADIENT : FILTER_COLUMNS]


def cleared(rows: int) -> Float64:
    """Return a table of rows that nothing was measured of."""
    table = np.zeros((rows, FILTER_COLUMNS))
    for at in SPREADS:
        table[:, at + MINIMUM], table[:, at + MAXIMUM] = np.inf, -np.inf
    return table


class LocalShards:
    """What this rank holds of the layers, and what it measures of it."""

    def __init__(self, layers: Sequence[RecordedLayer]) -> None:
        """Find this rank's parts; RecordingError where they cannot be put together."""
        self.samples = samples(layers)
        self.pieces = find_pieces(layers)
        self._measure = Measure([piece.local for piece in self.pieces]) if self.pieces else None
        self._table = np.empty((len(self.pieces), LAYER_COLUMNS))
        self._rows = np.empty((sum(piece.filters for piece in self.pieces), FILTER_COLUMNS))
        sampled = [piece.sampled(layers[piece.number].layer.shape, self.samples[piece.number]) for piece in self.pieces]
        self._places: list[Indices] = [places for _, places in sampled]
        self.chosen: list[Indices] = [chosen for chosen, _ in sampled]

    def layout(self) -> Arrays:
        """Return where the parts lie: their layers, rows, and places in the samples."""
        return {
            "numbers": np.array([piece.number for piece in self.pieces], np.int64),
            "starts": np.array([piece.origin[0] for piece in self.pieces], np.int64),
            "filters": np.array([piece.filters for piece in self.pieces], np.int64),
            "lengths": np.array([len(chosen) for chosen in self.chosen], np.int64),
            "chosen": np.concatenate([*self.chosen, np.empty(0, np.int64)]),
        }

    def remember(self) -> None:
        """Copy the weights as they are now."""
        if self._measure is not None:
            self._measure.remember()

    def measure(self, remember: bool, filters: bool) -> Arrays:
        """Return what was measured: a row of `totals` for each part, the sampled values, and the filters on request."""
        if self._measure is not None:
            self._measure.measure(self._table, self._rows if filters else None, remember=remember)
        weights, gradients = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
        for piece, places in zip(self.pieces, self._places, strict=True):
            weight = piece.local.weight
            weights.append(_picked(piece, weight, places))
            gradients.append(_picked(piece, weight.grad, places))
        return {
            "totals": self._table[:, :FILTER_COLUMNS],
            "weights": np.concatenate(weights),
            "gradients": np.concatenate(gradients),
            "rows": self._rows if filters else self._rows[:0],
        }

    def weights(self) -> Arrays:
        """Return a copy of every part."""
        return {
            f"{number}": np.array(piece.local.arrange(piece.local.weight).numpy())
            for number, piece in enumerate(self.pieces)
        } | {"origins": np.array([one for piece in self.pieces for one in piece.origin], np.int64)}


def _picked(piece: Piece, tensor: Tensor | None, places: Indices) -> NDArray[np.float32]:
    if tensor is None:
        return np.full(len(places), np.nan, np.float32)
    values = piece.local.arrange(tensor).reshape(-1).numpy()[places]
    return np.where(np.isfinite(values), values, np.float32(np.nan))


class ShardedMeasure:
    """What `Measure` is for whole layers: measures all ranks' parts, and puts them together on the first one."""

    def __init__(self, layers: Sequence[RecordedLayer], exchange: Exchange) -> None:
        """Begin on the first rank; the others follow (see `follower`)."""
        self._layers, self._exchange = layers, exchange
        self._local = LocalShards(layers)
        self._layouts: list[Arrays] = []
        firsts = np.cumsum([0, *(one.layer.filters for one in layers)])
        self._first_filter, self._filters = firsts[:-1], int(firsts[-1])
        self.meeting, self.with_filters = 0, True
        """Number of the record that is measured next, and whether the ranks were told to send their filters."""
        self.iteration = 0
        """Optimizer steps taken so far, by which ranks know a snapshot."""

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def bytes(self) -> int:
        """Bytes of all weights as float32."""
        return self.bytes_of(range(len(self._layers)))

    @property
    def before(self) -> Sequence[Tensor]:
        """No weights before the step: no rank has them whole."""
        return ()

    @property
    def stale(self) -> bool:
        """Whether weights were changed since they were remembered: of shards that is not noticed."""
        return False

    def bytes_of(self, chosen: Sequence[int]) -> int:
        """Return the bytes of the weights of some layers as float32."""
        return 4 * sum(self._layers[number].size for number in chosen)

    def remember(self) -> None:
        """Copy this rank's weights as they are now."""
        self._local.remember()

    def measure(self, layers: Float64, filters: Float64 | None, *, remember: bool) -> None:
        """Measure all parts of all layers, into float64 (layer, column of `totals`), and of filters likewise."""
        own = self._local.measure(remember, self.with_filters)
        if not self._layouts:
            self._layouts = [self._local.layout(), *self._exchange.receive("layout")]
        parts = [own, *self._exchange.receive(f"record/{self.meeting}")]
        totals, of_filters = cleared(len(self._layers)), cleared(self._filters)
        values = [np.full((2, len(one)), np.nan) for one in self._local.samples]
        for layout, part in zip(self._layouts, parts, strict=True):
            self._add(layout, part, totals, of_filters, values)
        layers[:, :FILTER_COLUMNS] = totals
        if filters is not None:
            filters[:, :FILTER_COLUMNS] = of_filters
        for number, sample in enumerate(values):
            layers[number, WEIGHT_QUARTILES : WEIGHT_QUARTILES + 3] = quartiles(sample[0])
            layers[number, GRADIENT_QUARTILES : GRADIENT_QUARTILES + 3] = quartiles(sample[1])

    def weights(self, chosen: Sequence[int] | None = None) -> list[NDArray[np.float32]]:
        """Return a copy of every layer's weight, or of the chosen ones', float32, as all ranks have it together."""
        whole = [np.zeros(one.layer.shape, np.float32) for one in self._layers]
        if not self._layouts:
            self._layouts = [self._local.layout(), *self._exchange.receive("layout")]
        parts = [self._local.weights(), *self._exchange.receive(f"snapshot/{self.iteration}")]
        for layout, part in zip(self._layouts, parts, strict=True):
            origins = part["origins"]
            for place, number in enumerate(layout["numbers"].tolist()):
                block = part[f"{place}"]
                origin, origins = origins[: block.ndim], origins[block.ndim :]
                whole[number][tuple(slice(at, at + n) for at, n in zip(origin, block.shape, strict=True))] = block
        return whole if chosen is None else [whole[number] for number in chosen]

    def _add(
        self, layout: Arrays, part: dict[str, Any] | Arrays, totals: Float64, filters: Float64, values: list[Float64]
    ) -> None:
        row = sampled = 0
        for place, number in enumerate(layout["numbers"].tolist()):
            merge(totals[number : number + 1], part["totals"][place : place + 1])
            count, length = int(layout["filters"][place]), int(layout["lengths"][place])
            if len(part["rows"]):
                first = self._first_filter[number] + layout["starts"][place]
                merge(filters[first : first + count], part["rows"][row : row + count])
            here = layout["chosen"][sampled : sampled + length]
            values[number][0, here] = part["weights"][sampled : sampled + length]
            values[number][1, here] = part["gradients"][sampled : sampled + length]
            row, sampled = row + count, sampled + length


def quartiles(values: Float64) -> Float64:
    """Return q1, median and q3 of the finite values, interpolated between neighbours; NaN where there is none."""
    known = np.sort(values)
    known = known[: np.searchsorted(known, np.inf)]
    if not len(known):
        return np.full(3, np.nan)
    place = np.array([0.25, 0.5, 0.75]) * (len(known) - 1)
    below = place.astype(np.int64)
    low, high = known[below], known[np.minimum(below + 1, len(known) - 1)]
    return np.asarray(low + (high - low) * (place - below))
