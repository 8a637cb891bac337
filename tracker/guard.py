"""Whether recording still goes on, and what a failure means for the training: an error, or one warning."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import ParamSpec
from weakref import WeakSet

from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.storage import Storage

_P = ParamSpec("_P")

_guards: WeakSet[Guard] = WeakSet()
"""Those of this process."""


def _forked() -> None:
    for guard in _guards:
        guard.ours = guard.clear = False
    _guards.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Guard:
    """Knows whether to record, and reports once what has stopped it. In a forked child it never records."""

    def __init__(self, storage: Storage, on_error: str) -> None:
        """Guard the recording into a run."""
        self._storage, self._on_error = storage, on_error
        self.iteration: Callable[[], int] = lambda: 0
        """Tells where a failure came."""
        self.when_failed: Callable[[], None] = lambda: None
        self.clear = True
        """Whether nothing speaks against recording: all that is asked at every step. Else `recording` tells."""
        self.ours = True
        """Whether this is the process that made the recorder."""
        self.closed = self._failed = False
        self._heard: Exception | None = None
        _guards.add(self)

    def recording(self, on_error: str = "") -> bool:
        """Return whether to record; report an error that was heard of, in another manner where `on_error` says one.

        RecordingError where the recorder is closed.
        """
        if self._failed or not self.ours:
            return False
        if self.closed:
            raise RecordingError(f"The recorder of {self._storage} is closed: nothing can be recorded any more.")
        if self._heard is not None:
            self.fail(self._heard, on_error)
        return self._heard is None

    def hear(self, error: Exception) -> None:
        """Take note of what has stopped the background thread, for the training thread to report."""
        self._heard, self.clear = error, False

    def close(self) -> None:
        """Have nothing recorded any more."""
        self.closed, self.clear = True, False

    def attempt(self, record: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Do something whose failure ends the recording."""
        try:
            record(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, training may be meant to go on without it.
            self.fail(error)

    def fail(self, error: Exception, on_error: str = "") -> None:
        """End the recording because of an error: raise RecordingError, or with "warn" warn."""
        self._failed, self.clear = True, False
        self.when_failed()
        message = (
            f"Recording into {self._storage} has stopped at iteration {self.iteration()}: {type(error).__name__}: "
            f"{error} What was committed before is kept; solve the cause and continue with resume=True."
        )
        if (on_error or self._on_error) == "raise":
            raise RecordingError(message) from error
        warnings.warn(message, RuntimeWarning, stacklevel=4)
