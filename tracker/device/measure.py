"""Measuring layers on the device that holds them: launched after a step, read before the next one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.device import plain
from deeptracker.tracker.device.layout import PIECE, Layout
from deeptracker.tracker.device.mailbox import Mailbox
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.quartiles import SAMPLE
from deeptracker.tracker.totals import (
    FILTER_COLUMNS,
    GRADIENT_QUARTILES,
    INTERVAL,
    WEIGHT_QUARTILES,
    Float64,
)
from deeptracker.tracker.touched import Touched

_MERGED = 64
"""Rows of a table that a program of the merging kernel reads at a time."""


class DeviceMeasure:
    """What `Measure` is for the CPU: measures all layers in a few launches, and waits for nothing.

    `launch` puts the work behind the step that the device is busy with; `collect`, called before the next step, reads
    what came of it. With Triton by the kernels of `fused`, without it by `plain`; the numbers are the same.
    """

    def __init__(self, layers: Sequence[RecordedLayer], device: torch.device, fused: Any = None) -> None:
        """Cut up the layers, all on one device; `fused` is the module of the kernels, None for torch's operations."""
        self._layers, self._device, self._fused = list(layers), device, fused
        self._layout = Layout.of(layers, device)
        self._before = [torch.empty(one.layer.shape, dtype=torch.float32, device=device) for one in layers]
        self._mailbox = Mailbox(device)
        self._touched = Touched(layers)
        rows = np.array(self._layout.rows_by_layer)
        with_filters = np.array([one.layer.filters > 0 for one in layers])
        self._filter_rows: NDArray[np.intp] = np.flatnonzero(np.repeat(with_filters, rows))
        self._addresses = torch.empty((3, len(layers)), dtype=torch.int64, pin_memory=device.type == "cuda")
        self._addresses[2] = torch.tensor([one.data_ptr() for one in self._before])
        self.remember()

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def before(self) -> Sequence[Tensor]:
        """The weights as they were remembered, on the device."""
        return self._before

    def bytes_of(self, chosen: Sequence[int]) -> int:
        """Bytes that the weights of the layers with these numbers take as float32."""
        return 4 * sum(self._layers[number].size for number in chosen)

    def weights(self, chosen: Sequence[int]) -> list[NDArray[np.float32]]:
        """Return a copy of the weights of the layers with these numbers; this waits for the device."""
        layers = [self._layers[number] for number in chosen]
        return [np.array(one.arrange(one.weight).numpy()).reshape(one.layer.shape) for one in layers]

    @torch.no_grad()
    def remember(self) -> None:
        """Copy the weights as they are now: the next measurement tells what has changed since."""
        # One launch for many tensors.
        torch._foreach_copy_(self._before, self._values([one.weight for one in self._layers]))
        self._touched.note()

    @property
    def stale(self) -> bool:
        """Whether a weight was changed in place, or replaced, since all were remembered."""
        return self._touched.since()

    def measure(self, layers: Float64, filters: Float64 | None, *, remember: bool) -> None:
        """Launch, wait and collect at once."""
        self.launch(remember=remember, filters=filters is not None)
        self.wait()
        self.collect(layers, filters)

    @torch.no_grad()
    def launch(self, *, remember: bool, filters: bool, extras: Sequence[Tensor] = ()) -> None:
        """Begin to measure what `Measure.measure` does, with the filters on request, and send `extras` along.

        `extras` are tensors of one element on the device, like a logged loss.
        """
        self._mailbox.begin()
        weights = [one.weight for one in self._layers]
        values, slopes = self._values(weights), self._slopes(weights)
        reduce = self._by_torch if self._fused is None else self._by_triton
        # Triton launches on the current device, whatever its arguments lie on.
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            rows, layers, quartiles = reduce(values, slopes, remember)
        posted = {"layers": layers, "quartiles": quartiles}
        if filters:
            posted["rows"] = rows
        if remember:
            self._touched.note()
        self._mailbox.post(posted | _together(extras))

    @torch.no_grad()
    def send(self, extras: Sequence[Tensor]) -> None:
        """Send `extras` alone."""
        self._mailbox.begin()
        self._mailbox.post(_together(extras))

    def wait(self) -> float:
        """Wait for what was launched; return the seconds that it took the device."""
        return self._mailbox.wait()

    def collect(self, layers: Float64, filters: Float64 | None) -> None:
        """Write what was measured to float64 (layer, column of `totals`), and (filter, column) if it was launched.

        `wait` was called before.
        """
        layers[:, :FILTER_COLUMNS] = self._mailbox["layers"].numpy()
        quartiles = self._mailbox["quartiles"].numpy()
        layers[:, WEIGHT_QUARTILES : WEIGHT_QUARTILES + 3] = quartiles[: self.layers]
        layers[:, GRADIENT_QUARTILES:INTERVAL] = quartiles[self.layers :]
        if filters is not None:
            rows = self._mailbox["rows"].numpy()
            np.take(rows, self._filter_rows, axis=0, out=filters[:, :FILTER_COLUMNS], mode="clip")

    def extras(self) -> list[float]:
        """Return the extras, as numbers. `wait` was called before."""
        arrived: list[float] = self._mailbox["extras"].tolist()
        return arrived

    def _values(self, weights: Sequence[Tensor]) -> list[Tensor]:
        return [self._checked(one, one.arrange_here(weight)) for one, weight in zip(self._layers, weights, strict=True)]

    def _slopes(self, weights: Sequence[Tensor]) -> list[Tensor | None]:
        pairs = zip(self._layers, weights, strict=True)
        return [None if weight.grad is None else one.arrange_here(weight.grad) for one, weight in pairs]

    def _checked(self, recorded: RecordedLayer, value: Tensor) -> Tensor:
        if value.numel() != recorded.size:
            raise RecordingError(
                f"Layer {recorded.layer.name!r} has changed its shape from {recorded.layer.shape} to "
                f"{tuple(value.shape)}: a run keeps its layers, record the changed model as a new run."
            )
        if value.device != self._device:
            raise RecordingError(
                f"Layer {recorded.layer.name!r} has moved from {self._device} to {value.device}: record the moved "
                "model with resume=True, or make the recorder after the model is where it is trained."
            )
        return value.view(recorded.layer.shape)

    def _by_torch(
        self, values: list[Tensor], slopes: list[Tensor | None], remember: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, layers = plain.reduce_rows(values, slopes, self._before, self._layout)
        samples = self._layout.samples
        quartiles = torch.cat([plain.quartiles(values, samples), plain.quartiles(slopes, samples)])
        if remember:
            torch._foreach_copy_(self._before, values)
        return rows, layers, quartiles

    def _by_triton(
        self, values: list[Tensor], slopes: list[Tensor | None], remember: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        fused, layout, count = self._fused, self._layout, self.layers
        self._addresses[0] = torch.tensor([one.data_ptr() for one in values])
        self._addresses[1] = torch.tensor([0 if one is None else one.data_ptr() for one in slopes])
        addresses = self._addresses.to(self._device, non_blocking=True)
        pieces = self._table(len(layout.layer_of))
        fused.measure_pieces[(len(layout.layer_of),)](
            addresses[0],
            addresses[1],
            addresses[2],
            layout.layer_of,
            layout.start,
            layout.length,
            pieces,
            KEEP=remember,
            BLOCK=PIECE,
        )
        rows, layers = self._table(layout.rows), self._table(count)
        fused.merge[(layout.rows,)](pieces, layout.row_pieces, rows, BLOCK=_MERGED)
        fused.merge[(count,)](rows, layout.layer_rows, layers, BLOCK=_MERGED)
        picked = torch.empty((2 * count, SAMPLE), dtype=torch.float32, device=self._device)
        fused.pick[(2 * count,)](addresses, layout.samples, picked, count, BLOCK=SAMPLE)
        quartiles = torch.empty((2 * count, 3), dtype=torch.float64, device=self._device)
        fused.interpolate[(2 * count,)](picked.sort(dim=1).values, quartiles, BLOCK=SAMPLE)
        return rows, layers, quartiles

    def _table(self, rows: int) -> Tensor:
        return torch.empty((rows, FILTER_COLUMNS), dtype=torch.float64, device=self._device)


def _together(extras: Sequence[Tensor]) -> dict[str, Tensor]:
    return {"extras": torch.stack([one.detach().reshape(()).double() for one in extras])} if extras else {}


def common_device(layers: Sequence[RecordedLayer]) -> torch.device | None:
    """Return the CUDA device that holds all layers; None where they lie on the CPU, or on several devices."""
    devices = {one.weight.device for one in layers}
    device = devices.pop()
    return device if not devices and device.type == "cuda" else None


def fused_kernels(device: torch.device) -> Any:
    """Return the module of Triton kernels where they can run, else None."""
    if device.type != "cuda":
        return None
    try:
        from deeptracker.tracker.device import fused
    except ImportError:
        return None
    return fused
