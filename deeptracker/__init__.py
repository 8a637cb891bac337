"""DeepTracker: record the whole training of a CNN at every iteration, and explore it at any zoom."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeptracker.data_model.comparison import compare_runs
    from deeptracker.data_model.run import Run, open_run
    from deeptracker.tracker.own import statistic
    from deeptracker.tracker.recorder import Recorder

__version__ = "0.1.0"
__all__ = ["Recorder", "Run", "__version__", "compare_runs", "open_run", "statistic"]

_RECORDING = {"Recorder": "recorder", "statistic": "own"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: viewing works without torch, recording without Panel."""
    if name in _RECORDING:
        try:
            module = import_module(f"deeptracker.tracker.{_RECORDING[name]}")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError("Recording needs PyTorch: pip install 'deeptracker[recorder]'.", name="torch") from error
        return getattr(module, name)
    if name in ("Run", "open_run"):
        from deeptracker.data_model import run

        return getattr(run, name)
    if name == "compare_runs":
        from deeptracker.data_model.comparison import compare_runs

        return compare_runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
