"""The options of commands whose work can be shared: by the cores of this machine, or by a cluster."""

from __future__ import annotations

import argparse
import os

from deeptracker.app.command.terminal import count_of


def add_workers(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the options that say who does the work; `default` says in words what happens without them."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--workers", type=count_of("workers"), metavar="N", help=f"how many share the work (default: {default})"
    )
    group.add_argument("--scheduler", metavar="ADDRESS", help="of a dask.distributed cluster, such as tcp://host:8786")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
