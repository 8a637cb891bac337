"""Tensors on their way from a device to the host: nobody waits for them until they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class _Road:
    """The stream of the copies, and the events on it and before it."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.began, self.ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self.arrived = torch.cuda.Event(blocking=True)  # whoever waits leaves the core to others


class Mailbox:
    """Copies tensors to pinned memory behind what the device has to do; one delivery is under way at a time.

    The copies have a stream of their own: the device goes on with the training meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        """Serve one device. On the CPU everything arrives at once."""
        self._device = device
        self._buffers: dict[str, Tensor] = {}
        self._road = _Road(device) if device.type == "cuda" else None

    def begin(self) -> None:
        """Mark where the device begins with the work that leads to the delivery."""
        if self._road is not None:
            self._road.began.record(torch.cuda.current_stream(self._device))

    def post(self, tensors: Mapping[str, Tensor]) -> None:
        """Send tensors off, each under a name. What an earlier delivery brought is overwritten."""
        if self._road is None:
            self._copy(tensors)
            return
        self._road.ended.record(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._road.stream):
            self._road.stream.wait_event(self._road.ended)
            self._copy(tensors)
            self._road.arrived.record()
        for tensor in tensors.values():
            tensor.record_stream(self._road.stream)  # its memory is nobody else's before it has been copied

    def wait(self) -> float:
        """Wait until everything has arrived; return the seconds that the device worked on it, 0 on the CPU."""
        if self._road is None:
            return 0.0
        self._road.arrived.synchronize()
        return float(self._road.began.elapsed_time(self._road.ended)) / 1e3

    def __getitem__(self, name: str) -> Tensor:
        """Return what has arrived under a name, on the CPU; valid until the next delivery."""
        return self._buffers[name]

    def _copy(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            buffer = self._buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._road is not None)
                self._buffers[name] = buffer
            buffer.copy_(tensor, non_blocking=True)
