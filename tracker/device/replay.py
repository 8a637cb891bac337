"""Launching the same work at every step as one CUDA graph: one call of the host instead of a dozen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch


class Replay:
    """Does a piece of work the first time as it is written, and from then on by a graph captured of it.

    The work allocates what it returns and reads nothing but memory that stays; what it returned is overwritten when it
    is done again. On the CPU, where the capture fails, and within a capture of the user's, it is done as it is written.
    """

    def __init__(self, device: torch.device) -> None:
        """Serve one device; it is the current one whenever work is done."""
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self._warm: set[Hashable] = set()

    def __call__(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """Do the work of this key, behind what the device has to do; nothing waits for it."""
        if self._side is None or torch.cuda.is_current_stream_capturing():
            return work()
        if key in self._graphs:
            graph, found = self._graphs[key]
            graph.replay()
            return found
        if key not in self._warm:  # its kernels are compiled now, which a capture would not bear
            self._warm.add(key)
            return work()
        try:
            self._graphs[key] = self._capture(self._side, work)
        except RuntimeError:
            self._side = None
            return work()
        return self(key, work)

    def _capture(self, side: torch.cuda.Stream, work: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        # By hand: `torch.cuda.graph` waits for the device and empties torch's caches.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):
            # What other threads do meanwhile, like pinning memory, does not matter.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                found = work()
            finally:
                graph.capture_end()
        return graph, found
