"""Measuring all layers of a model at one step: the tensors' addresses, the previous weights, and the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.tracker.kernel import Places, measure
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
        self._sizes = np.array([layer.size for layer in layers], np.int64)
        filters = np.array([layer.layer.filters for layer in layers], np.int64)
        lengths = np.where(filters > 0, self._sizes // np.maximum(filters, 1), 0)
        self._no_filters = np.empty((0, FILTER_COLUMNS), np.float64)
        self._touched = Touched(layers)
        # One behind the other, which the CPU reads ahead.
        flat = torch.empty(int(self._sizes.sum()), dtype=torch.float32).split(self._sizes.tolist())
        self._before = [one.view(layer.layer.shape) for one, layer in zip(flat, layers, strict=True)]
        self._places = Places(self._sizes, lengths, [one.data_ptr() for one in flat], Sampler(self._sizes))
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
        return 4 * int(self._sizes[list(chosen)].sum())

    def remember(self) -> None:
        """Copy the weights as they are now: the next measurement tells what has changed since."""
        for recorded, before in zip(self._layers, self._before, strict=True):
            before.copy_(check(recorded, recorded.arrange(recorded.weight)))
        self._touched.note()

    @property
    def stale(self) -> bool:
        """Whether a weight was changed in place, or replaced, since all were remembered."""
        return self._touched.since()

    def measure(self, layers: Float64, filters: Float64 | None, *, remember: bool) -> None:
        """Measure weights, gradients and the change since `remember`.

        Writes float64 (layer, column of `totals`), and unless `filters` is None, which is faster, float64 (filter,
        column of `totals`) in network order; both contiguous. With `remember`, the weights are copied in the same pass.
        RecordingError when a layer has changed its shape.
        """
        now, places = self._touched.now(), self._places
        # What had to be copied to be read is held until it was measured.
        held = self._sources.locate(now, places)
        measure(places.table, layers, self._no_filters if filters is None else filters, remember, filters is not None)
        del held
        if remember:
            self._touched.note(now)

    def weights(self, chosen: Sequence[int]) -> list[NDArray[np.float32]]:
        """Return a copy of the weights of the layers with these numbers, float32, in the shape of the description."""
        layers = [self._layers[number] for number in chosen]
        return [np.array(recorded.arrange(recorded.weight).numpy()) for recorded in layers]

    def _warm_up(self) -> None:
        """Measure once for nothing, so that the first step does not wait for the compiler."""
        self.remember()
        out = np.empty((len(self._layers), LAYER_COLUMNS), np.float64)
        try:
            self.measure(out, None, remember=False)
        except OSError:
            # The machine code could not be kept on disk; but it is compiled.
            self.measure(out, None, remember=False)
