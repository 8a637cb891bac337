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
from deeptracker.tracker.device.layout import Layout
from deeptracker.tracker.device.mailbox import Mailbox
from deeptracker.tracker.device.places import Places, filters_outermost
from deeptracker.tracker.device.replay import Replay
from deeptracker.tracker.layers import RecordedLayer
from deeptracker.tracker.quartiles import SAMPLE
from deeptracker.tracker.sources import Sources, check
from deeptracker.tracker.totals import (
    FILTER_COLUMNS,
    GRADIENT_QUARTILES,
    INTERVAL,
    WEIGHT_QUARTILES,
    Float64,
)
from deeptracker.tracker.touched import Touched

CHUNK, WARPS = 64, 1
"""Values that a program of the measuring kernel reads at a time, and the warps that share them."""
_MERGED = 512
"""Rows of a table that a program of the merging kernel reads at a time, at most."""


class DeviceMeasure:
    """What `Measure` is for the CPU: measures all layers in a few launches, and waits for nothing.

    `launch` puts the work behind the step that the device is busy with; `collect`, called before the next step, reads
    what came of it. With Triton by the kernels of `fused`, without it by `plain`; the numbers are the same.
    """

    def __init__(self, layers: Sequence[RecordedLayer], device: torch.device, fused: Any = None) -> None:
        """Cut up the layers, all on one device; `fused` is the module of the kernels, None for torch's operations."""
        self._layers, self._device, self._fused = list(layers), device, fused
        self._layout = Layout.of(layers, device)
        self._before = [self._room_for(one) for one in layers]
        self._mailbox = Mailbox(device)
        self._touched = Touched(layers)
        self._places = Places(self._before, device)
        self._sources = Sources(layers, self._in_place)
        self._replay = Replay(device)
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
        torch._foreach_copy_(self._before, self._values())
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
        reduce = self._by_torch if self._fused is None else self._by_triton
        # Triton launches on the current device, whatever its arguments lie on.
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            rows, layers, quartiles = reduce(remember, filters)
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
            filters[:, :FILTER_COLUMNS] = self._mailbox["rows"].numpy()

    def extras(self) -> list[float]:
        """Return the extras, as numbers. `wait` was called before."""
        arrived: list[float] = self._mailbox["extras"].tolist()
        return arrived

    def _room_for(self, recorded: RecordedLayer) -> Tensor:
        """Return memory for a layer's weights; the kernels want them in the order in which the weights lie."""
        weight = recorded.weight
        if self._fused is not None and weight.shape == recorded.layer.shape and filters_outermost(weight):
            return torch.empty_like(weight, dtype=torch.float32, requires_grad=False)
        return torch.empty(recorded.layer.shape, dtype=torch.float32, device=self._device)

    def _values(self) -> list[Tensor]:
        found = []
        for number, one in enumerate(self._layers):
            value = check(one, self._in_place(one, one.weight, number))
            found.append(value.detach().view(one.layer.shape))
        return found

    def _slopes(self) -> list[Tensor | None]:
        gradients = [(one, one.weight.grad) for one in self._layers]
        return [None if gradient is None else one.arrange_here(gradient) for one, gradient in gradients]

    def _in_place(self, recorded: RecordedLayer, tensor: Tensor, number: int | None) -> Tensor:
        """Return a weight (`number`: of which layer) or a gradient itself where it can be read in place, else a copy.

        In memory, a gradient must have one filter behind the other, a weight the order of what is remembered of it.
        """
        if tensor.device != self._device:
            raise RecordingError(
                f"Layer {recorded.layer.name!r} has moved from {self._device} to {tensor.device}: record the moved "
                "model with resume=True, or make the recorder after the model is where it is trained."
            )
        plain = tensor.dtype is torch.float32 and recorded.groups == 0 and tensor.layout is torch.strided
        if plain and (number is None or tensor.numel() == 1) and filters_outermost(tensor):
            return tensor
        if number is None or tensor.numel() != recorded.size:
            return recorded.arrange_here(tensor)
        before = self._before[number]
        if plain and tensor.shape == before.shape and tensor.stride() == before.stride():
            return tensor
        return torch.empty_like(before).copy_(recorded.arrange_here(tensor).view(before.shape))

    def _by_torch(self, remember: bool, filters: bool) -> tuple[Tensor, Tensor, Tensor]:
        values, slopes, samples = self._values(), self._slopes(), self._layout.samples
        rows, layers = plain.reduce_rows(values, slopes, self._before, self._layout)
        quartiles = torch.cat([plain.quartiles(values, samples), plain.quartiles(slopes, samples)])
        if remember:
            torch._foreach_copy_(self._before, values)
        return rows.index_select(0, self._layout.filter_rows) if filters else rows, layers, quartiles

    def _by_triton(self, remember: bool, filters: bool) -> tuple[Tensor, Tensor, Tensor]:
        # Copies are held until the kernels are launched that read them.
        held = self._sources.locate(self._touched.now(), self._places)
        self._places.send()
        found: tuple[Tensor, Tensor, Tensor] = self._replay(
            (remember, filters), lambda: self._launch_kernels(remember, filters)
        )
        del held
        return found

    def _launch_kernels(self, remember: bool, filters: bool) -> tuple[Tensor, Tensor, Tensor]:
        fused, layout, count, addresses = self._fused, self._layout, self.layers, self._places.there
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
            CHUNK=CHUNK,
            num_warps=WARPS,
        )
        rows, layers = self._table(layout.rows), self._table(count)
        few = min(1 << (layout.most_pieces - 1).bit_length(), _MERGED)
        fused.merge[(layout.rows,)](pieces, layout.row_pieces, rows, BLOCK=few, num_warps=1 if few <= 64 else 8)
        fused.merge[(count,)](rows, layout.layer_rows, layers, BLOCK=_MERGED, num_warps=8)
        picked = torch.empty((2 * count, SAMPLE), dtype=torch.float32, device=self._device)
        fused.pick[(2 * count,)](addresses, layout.samples, picked, count, BLOCK=SAMPLE)
        quartiles = torch.empty((2 * count, 3), dtype=torch.float64, device=self._device)
        fused.interpolate[(2 * count,)](picked.sort(dim=1).values, quartiles, BLOCK=SAMPLE)
        return rows.index_select(0, layout.filter_rows) if filters else rows, layers, quartiles

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
