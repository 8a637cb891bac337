"""Several processes that train together, for the tests of distributed training; none of them outlives its test."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

LONGEST = 600.0
"""Seconds: only ranks that wait for each other take as long, also on a machine that is busy with other things."""


def run_ranks(
    function: Callable[..., None], folder: Path, *args: Any, count: int = 2, seconds: float = LONGEST
) -> None:
    """Call `function(rank, *args)` in `count` processes of one gloo group; fail when they take too long."""
    rendezvous = folder / "rendezvous"
    context = torch.multiprocessing.spawn(
        _start, (function, count, rendezvous.as_uri(), args), nprocs=count, join=False
    )
    end = time.monotonic() + seconds
    try:
        while not context.join(timeout=1.0):
            if time.monotonic() > end:
                pytest.fail(f"the ranks of {function.__name__} hang")
    finally:
        for process in context.processes:
            process.kill()
            process.join()


def _start(rank: int, function: Callable[..., None], count: int, address: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=count)
    try:
        function(rank, *args)
    finally:
        distributed.destroy_process_group()
    # The threads of gloo may still hold tensors that Python knows, as long as anything holds the group (a sharded model
    # does). To let go of them while the interpreter ends aborts the process now and then: leave without that.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
