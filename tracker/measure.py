"""Measuring all layers of a model at one step: the tensors' addresses, the previous weights, and the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.kernel import Addresses, Float64, measure
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.quartiles import Quartiles
from deeptracker.tracker.totals import FILTER_COLUMNS, GRADIENT_QUARTILES, LAYER_COLUMNS, WEIGHT_QUARTILES


class Measure:
    """Keeps the weights as they were before a step and measures what the step did.

    It only reads the model: no tensor of it is changed, and no random number is drawn from torch, numpy or Python.
    """

    def __init__(self, layers: Sequence[RecordedLayer]) -> None:
        self._layers = layers
        self._before = [torch.empty(layer.layer.shape, dtype=torch.float32) for layer in layers]
        self._before_addresses = _addresses(self._before)
        sizes = np.array([layer.size for layer in layers], np.int64)
        # A layer without filters is measured as one row.
        self._rows = np.array([max(layer.layer.filters, 1) for layer in layers], np.int64)
        self._lengths = sizes // self._rows
        self._row_table = np.empty((int(self._rows.sum()), FILTER_COLUMNS), np.float64)
        with_filters = np.array([layer.layer.filters > 0 for layer in layers])
        self._filter_rows: NDArray[np.intp] = np.flatnonzero(np.repeat(with_filters, self._rows))
        self._quartiles = Quartiles(np.concatenate([sizes, sizes]))
        self._sorted = np.empty((2 * len(layers), 3), np.float64)
        self._warm_up()

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def bytes(self) -> int:
        """Bytes of all weights as float32."""
        return 4 * int((self._rows * self._lengths).sum())

    def copy_filters(self, out: Float64) -> None:
        """Copy what was measured of every filter, in network order, to float64 (filter, column of `totals`)."""
        np.take(self._row_table, self._filter_rows, axis=0, out=out, mode="clip")

    def remember(self) -> None:
        """Copy the weights as they are now: the next measurement tells what has changed since."""
        for recorded, before in zip(self._layers, self._before, strict=True):
            before.copy_(self._check(recorded, recorded.arrange(recorded.weight)))

    def measure(self, out: Float64, *, remember: bool) -> None:
        """Measure weights, gradients and the change since `remember`, into float64 (layer, column of `totals`).

        With `remember`, the weights are copied in the same pass. RecordingError when a layer has changed its shape.
        """
        held = [(recorded, recorded.weight) for recorded in self._layers]
        weights = [self._check(recorded, _readable(recorded, weight)) for recorded, weight in held]
        gradients = [None if weight.grad is None else _readable(recorded, weight.grad) for recorded, weight in held]
        tensors = _addresses([*weights, *gradients])
        count = len(weights)
        measure(
            tensors[:count],
            tensors[count:],
            self._before_addresses,
            self._rows,
            self._lengths,
            remember,
            self._row_table,
            out,
        )
        self._quartiles.measure(tensors, self._sorted)
        out[:, WEIGHT_QUARTILES : WEIGHT_QUARTILES + 3] = self._sorted[:count]
        out[:, GRADIENT_QUARTILES : GRADIENT_QUARTILES + 3] = self._sorted[count:]

    def weights(self) -> list[NDArray[np.float32]]:
        """Return a copy of every layer's weight, float32, in the shape of its description."""
        return [np.array(recorded.arrange(recorded.weight).numpy()) for recorded in self._layers]

    @staticmethod
    def _check(recorded: RecordedLayer, weight: Tensor) -> Tensor:
        if weight.numel() != recorded.size:
            raise RecordingError(
                f"Layer {recorded.layer.name!r} has changed its shape from {recorded.layer.shape} to "
                f"{tuple(weight.shape)}: a run keeps its layers, record the changed model as a new run."
            )
        return weight

    def _warm_up(self) -> None:
        """Measure once for nothing, so that the first step does not wait for the compiler."""
        self.remember()
        self.measure(np.empty((len(self._layers), LAYER_COLUMNS), np.float64), remember=False)


def _readable(recorded: RecordedLayer, tensor: Tensor) -> Tensor:
    """Return the tensor itself where the kernel can read its memory, else a copy that it can."""
    plain = tensor.dtype is torch.float32 and recorded.groups == 0 and tensor.is_cpu
    if plain and tensor.layout is torch.strided and tensor.is_contiguous():
        return tensor
    return recorded.arrange(tensor)


def _addresses(tensors: Sequence[Tensor | None]) -> Addresses:
    return np.array([0 if tensor is None else tensor.data_ptr() for tensor in tensors], np.uint64)
