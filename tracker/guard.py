"""Whether recording still goes on, and what a failure means for the training: an error, or one warning."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import ParamSpec

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.storage import Storage

_P = ParamSpec("_P")

_forks = 0
"""Forks between this process and the one that was started; to ask the system for it at every step would cost more."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Guard:
    """Knows whether to record, and reports once what has stopped it. In a forked child it never records."""

    def __init__(self, storage: Storage, on_error: str) -> None:
        """Guard the recording into a run."""
        self._storage, self._on_error = storage, on_error
        self.iteration: Callable[[], int] = lambda: 0
        """Tells where a failure came."""
        self._process = _forks
        self._failed = False
        self.closed = False
        self.when_failed: Callable[[], None] = lambda: None

    @property
    def ours(self) -> bool:
        """Whether this is the process that made the recorder."""
        return _forks == self._process

    def recording(self, error: Exception | None, on_error: str = "") -> bool:
        """Return whether to record; report an error that has stopped it, in another manner where `on_error` says one.

        RecordingError where the recorder is closed.
        """
        if self._failed or _forks != self._process:
            return False
        if self.closed:
            raise RecordingError(f"The recorder of {self._storage} is closed: nothing can be recorded any more.")
        if error is not None:
            self.fail(error, on_error or self._on_error)
        return error is None

    def attempt(self, record: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Do something whose failure ends the recording."""
        try:
            record(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, training may be meant to go on without it.
            self.fail(error, self._on_error)

    def fail(self, error: Exception, on_error: str) -> None:
        """End the recording because of an error: raise RecordingError, or with "warn" warn."""
        self._failed = True
        self.when_failed()
        message = (
            f"Recording into {self._storage} has stopped at iteration {self.iteration()}: {type(error).__name__}: "
            f"{error} What was committed before is kept; solve the cause and continue with resume=True."
        )
        if on_error == "raise":
            raise RecordingError(message) from error
        warnings.warn(message, RuntimeWarning, stacklevel=4)
