"""Where the values lie on a device that the fused kernels read: their addresses, and the orders they may lie in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Places:
    """The addresses of weights, gradients and remembered weights, int64 (3, layer): on the host, and sent from there.

    They are written anew at a record, when what was sent for the one before has long arrived.
    """

    def __init__(self, before: Sequence[Tensor], device: torch.device) -> None:
        self._host = torch.zeros((3, len(before)), dtype=torch.int64, pin_memory=device.type == "cuda")
        self._array: NDArray[np.int64] = self._host.numpy()
        self._array[2] = [one.data_ptr() for one in before]
        self.there = torch.zeros((3, len(before)), dtype=torch.int64, device=device)
        """The same on the device, as it was sent last."""

    def set_weights(self, addresses: Sequence[int]) -> None:
        """Take the addresses of the weights, one a layer."""
        self._array[0] = addresses

    def set_gradients(self, addresses: Sequence[int]) -> None:
        """Take the addresses of the gradients, one a layer; 0: none."""
        self._array[1] = addresses

    def send(self) -> None:
        """Send them to the device, without waiting for it."""
        self.there.copy_(self._host, non_blocking=True)


def filters_outermost(tensor: Tensor) -> bool:
    """Say whether a tensor is dense, with its first axis the slowest in memory: in order, or with channels last."""
    if tensor.is_contiguous():
        return True
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    order = orders.get(tensor.dim())
    return order is not None and tensor.is_contiguous(memory_format=order)
