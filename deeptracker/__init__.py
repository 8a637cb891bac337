"""DeepTracker: record the whole training of a CNN at every iteration, and explore it at any zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run, open_run
    from deeptracker.tracker.recorder import Recorder

__version__ = "0.1.0"
__all__ = ["Recorder", "Run", "__version__", "open_run"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: viewing works without torch, recording without Panel."""
    if name == "Recorder":
        try:
            from deeptracker.tracker.recorder import Recorder
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError("Recording needs PyTorch: pip install 'deeptracker[recorder]'.", name="torch") from error
        return Recorder
    if name in ("Run", "open_run"):
        from deeptracker.data_model import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
