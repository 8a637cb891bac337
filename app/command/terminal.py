"""What commands share: numbers as options, and a bar for what takes long."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Self


def count_of(things: str) -> Callable[[str], int]:
    """Return what reads a number of these things, 1 or more, from the command line."""

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of {things}: give 1 or more")
        return int(text)

    return count


class Bar:
    """Shows how far something has come, on a terminal; called with what is done and the total. Use it in a `with`."""

    def __init__(self, doing: str, unit: str, *, least: int = 0, scaled: bool = False) -> None:
        """Say what is done to which units; there is no bar for a total below `least`. `scaled`: 1.5M, not 1500000."""
        self._options: dict[str, Any] = {"desc": doing, "unit": unit, "unit_scale": scaled}
        self._least = least
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Say how much of the total is done."""
        if total < self._least:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, disable=not sys.stderr.isatty(), **self._options)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
