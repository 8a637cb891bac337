"""Hooks that stay behind when the model they hang on is copied or saved.

People copy their model in mid-training (averages, teachers) and save it whole. A hook of ours must neither make that
fail, nor record what the copy does, nor tie the saved file to DeepTracker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any


class Unsaved:
    """A callable that is nothing, but can be called as well, once it is copied or pickled."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Call this function, as long as it is the original."""
        self._function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function."""
        return self._function(*arguments, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        # Takes whatever it is given and returns None; every Python can load it.
        return getattr, (nullcontext(), "__exit__")
