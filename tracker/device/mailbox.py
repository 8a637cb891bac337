"""Tensors on their way from a device to the host: nobody waits for them until they are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Mailbox:
    """Copies tensors to pinned memory behind what the device has to do; one delivery is under way at a time."""

    def __init__(self, device: torch.device) -> None:
        """Serve one device. On the CPU everything arrives at once."""
        self._device = device
        self._cuda = device.type == "cuda"
        self._buffers: dict[str, Tensor] = {}
        self._began = torch.cuda.Event(enable_timing=True) if self._cuda else None
        self._ended = torch.cuda.Event(enable_timing=True) if self._cuda else None

    def begin(self) -> None:
        """Mark where the device begins with the work that leads to the delivery."""
        if self._began is not None:
            self._began.record(torch.cuda.current_stream(self._device))

    def post(self, tensors: Mapping[str, Tensor]) -> None:
        """Send tensors off, each under a name. What an earlier delivery brought is overwritten."""
        for name, tensor in tensors.items():
            buffer = self._buffers.get(name)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._cuda)
                self._buffers[name] = buffer
            buffer.copy_(tensor, non_blocking=True)
        if self._ended is not None:
            self._ended.record(torch.cuda.current_stream(self._device))

    def wait(self) -> float:
        """Wait until everything has arrived; return the seconds that the device worked on it, 0 on the CPU."""
        if self._began is None or self._ended is None:
            return 0.0
        self._ended.synchronize()
        return float(self._began.elapsed_time(self._ended)) / 1e3

    def __getitem__(self, name: str) -> Tensor:
        """Return what has arrived under a name, on the CPU; valid until the next delivery."""
        return self._buffers[name]
