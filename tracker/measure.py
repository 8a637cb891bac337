"""Measuring all layers of a model at one step: the tensors' addresses, the previous weights, and the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.tracker.kernel import measure
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.quartiles import Sampler
from deeptracker.tracker.sources import Sources, check
from deeptracker.tracker.totals import FILTER_COLUMNS, LAYER_COLUMNS, Float64
from deeptracker.tracker.touched import Touched


class Measure:
    """Keeps the weights as they were before a step and measures what the step did.

    It only reads the model: no tensor of it is changed, and no random number is drawn from torch, numpy or Python.
    """

    def __init__(self, layers: Sequence[RecordedLayer]) -> None:
        self._layers = layers
        self._sources = Sources(layers)
        sizes = np.array([layer.size for layer in layers], np.int64)
        # A layer without filters is measured as one row.
        rows = np.array([max(layer.layer.filters, 1) for layer in layers], np.int64)
        with_filters = np.array([layer.layer.filters > 0 for layer in layers])
        self._filters = int(rows[with_filters].sum())
        # First the rows of filters, so that they can be copied at once.
        ends = np.where(with_filters, np.cumsum(rows * with_filters), self._filters + np.cumsum(~with_filters))
        self._shapes = np.stack([rows, sizes // rows, ends - rows], axis=1)
        self._whole = np.stack([np.ones_like(sizes), sizes, np.arange(len(sizes))], axis=1)
        self._row_table = np.empty((int(rows.sum()), FILTER_COLUMNS), np.float64)
        self._sampler = Sampler(sizes)
        self._touched = Touched(layers)
        self._before = [torch.empty(layer.layer.shape, dtype=torch.float32) for layer in layers]
        self._addresses = np.zeros((3, len(layers)), np.uint64)
        self._addresses[2] = [before.data_ptr() for before in self._before]
        self._warm_up()

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def before(self) -> Sequence[Tensor]:
        """The weights as they were remembered: float32, with the filters on the first axis, one tensor a layer."""
        return self._before

    def bytes_of(self, chosen: Sequence[int]) -> int:
        """Bytes that the weights of the layers with these numbers take as float32."""
        return 4 * int(self._whole[list(chosen), 1].sum())

    def copy_filters(self, out: Float64) -> None:
        """Copy what was measured of every filter, in network order, to float64 (filter, column of `totals`)."""
        out[:] = self._row_table[: self._filters]

    def remember(self) -> None:
        """Copy the weights as they are now: the next measurement tells what has changed since."""
        for recorded, before in zip(self._layers, self._before, strict=True):
            before.copy_(check(recorded, recorded.arrange(recorded.weight)))
        self._touched.note()

    @property
    def stale(self) -> bool:
        """Whether a weight was changed in place, or replaced, since all were remembered."""
        return self._touched.since()

    def measure(self, out: Float64, *, remember: bool, filters: bool = True) -> None:
        """Measure weights, gradients and the change since `remember`, into float64 (layer, column of `totals`).

        With `remember`, the weights are copied in the same pass; without `filters` none is measured by itself, which is
        faster, and `copy_filters` must not be called. RecordingError when a layer has changed its shape.
        """
        # What had to be copied to be read is held until it was measured.
        held = self._sources.locate(self._addresses)
        sampler = self._sampler
        measure(
            self._addresses,
            self._shapes if filters else self._whole,
            remember,
            self._row_table,
            out,
            sampler.offsets,
            sampler.indices,
            sampler.keys,
            sampler.guesses,
        )
        del held
        if remember:
            self._touched.note()

    def weights(self, chosen: Sequence[int]) -> list[NDArray[np.float32]]:
        """Return a copy of the weights of the layers with these numbers, float32, in the shape of the description."""
        layers = [self._layers[number] for number in chosen]
        return [np.array(recorded.arrange(recorded.weight).numpy()) for recorded in layers]

    def _warm_up(self) -> None:
        """Measure once for nothing, so that the first step does not wait for the compiler."""
        self.remember()
        out = np.empty((len(self._layers), LAYER_COLUMNS), np.float64)
        try:
            self.measure(out, remember=False)
        except OSError:
            # The machine code could not be kept on disk; but it is compiled.
            self.measure(out, remember=False)
