"""Opening a run to record into: a new one, or one that is resumed with the same network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from deeptracker.data_model.errors import NotARunError, RecordingError
from deeptracker.data_model.vocabulary import SCALARS, Description, Layer
from deeptracker.data_model.writer import RunWriter
from deeptracker.tracker.statistics import FILTER_STATISTICS, LAYER_STATISTICS


def describe(
    path: Path, name: str, model: nn.Module, classes: Sequence[str], parameters: Mapping[str, Any] | None
) -> Description:
    """Return what the run says about itself; parameters that JSON does not know become text."""
    plain = tuple((str(key), _plain(value)) for key, value in (parameters or {}).items())
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    return Description(name or path.name, type(inner).__name__, tuple(classes), plain)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def open_writer(path: Path, description: Description, layers: Sequence[Layer], resume: bool) -> RunWriter:
    """Return the writer of a new run, or with `resume` of the run at `path`, where there is one.

    Raises RunExistsError, RunLockedError, and RecordingError when the run to resume is of another network.
    """
    if resume and path.is_dir() and any(path.iterdir()):
        writer = RunWriter.resume(path)
        difference = _difference(writer, layers)
        if difference:
            writer.close()
            raise RecordingError(f"{path} cannot be resumed with this model: {difference}. Record to another path.")
        return writer
    if resume and path.exists() and not path.is_dir():
        raise NotARunError(f"{path} is a file, not a run to resume.")
    return RunWriter.create(path, description, layers, LAYER_STATISTICS, FILTER_STATISTICS)


def _difference(writer: RunWriter, layers: Sequence[Layer]) -> str:
    then, now = [layer.name for layer in writer.layers], [layer.name for layer in layers]
    if then != now:
        changed = sorted(set(then) ^ set(now)) or ["their order"]
        return f"it has {len(then)} layers, the model has {len(now)}; they differ in {', '.join(changed[:3])}"
    for old, new in zip(writer.layers, layers, strict=True):
        if old.shape != new.shape or old.filters != new.filters:
            return f"layer {old.name} has shape {old.shape} there and {new.shape} here"
    names = [one.name for one in LAYER_STATISTICS], [one.name for one in FILTER_STATISTICS]
    recorded = writer.manifest.layer_statistics, writer.manifest.filter_statistics
    if names != tuple([one.name for one in statistics] for statistics in recorded):
        return "it holds other statistics, from another version of DeepTracker"
    return ""


def last_of(writer: RunWriter, family: str) -> int:
    """Return the last iteration of a family of the run; -1 when it has none."""
    entry = writer.manifest.logs.get(family)
    return -1 if entry is None else entry.axis.last


def first_iteration(writer: RunWriter) -> int:
    """Return the number of the next optimizer step: learning rates are recorded at every one."""
    return last_of(writer, SCALARS) + 1
