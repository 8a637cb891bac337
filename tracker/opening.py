"""Opening a run to record into: a new one, or one that is resumed with the same network, maybe from earlier on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from deeptracker.data_model.errors import NotARunError, RecordingError
from deeptracker.data_model.folder import access, holds_nothing
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.root import read_root
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.vocabulary import ACTIVATIONS, FILTERS, LAYERS, SCALARS, Description
from deeptracker.data_model.writer import RunWriter
from deeptracker.tracker.contents import Contents
from deeptracker.tracker.layers import RecordedLayer, kind_of
from deeptracker.tracker.thumbnails import Thumbnails


def describe(
    storage: Storage, name: str, model: nn.Module, classes: Sequence[str], parameters: Mapping[str, Any] | None
) -> Description:
    """Return what the run says about itself; parameters that JSON does not know become text."""
    plain = tuple((str(key), _plain(value)) for key, value in (parameters or {}).items())
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    return Description(name or storage.name, kind_of(inner), tuple(classes), plain)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def open_writer(
    storage: Storage, description: Description, contents: Contents, resume: bool, iteration: int | None = None
) -> RunWriter:
    """Return the writer of a new run, or with `resume` of the run there, where there is one.

    What that run holds from `iteration` on is cut off. Nothing is changed where an error is raised: RunExistsError,
    RunLockedError, RunAccessError, and RecordingError when the run to resume is of another network.
    """
    if iteration is not None and (isinstance(iteration, bool) or iteration < 0):
        raise RecordingError(f"iteration is {iteration!r}; give the number of optimizer steps that the model has had.")
    with access(storage):
        fresh = not resume or holds_nothing(storage)
    if fresh:
        return RunWriter.create(
            storage,
            description,
            contents.layers,
            contents.layer_statistics,
            contents.filter_statistics,
            contents.activations,
        )
    if storage.kind() == "file":
        raise NotARunError(f"{storage} is a file, not a run to resume.")
    manifest = read_root(storage).manifest
    difference = _difference(manifest, contents)
    if difference:
        raise RecordingError(f"{storage} cannot be resumed with this model: {difference}. Record to another path.")
    # An exception may have ended the training while a step was recorded: what there is of that step goes.
    scalars = manifest.logs.get(SCALARS)
    writer = RunWriter.resume(
        storage, before=(scalars.axis.last + 1 if scalars else 0) if iteration is None else iteration
    )
    writer.add_layers(contents.layers[len(writer.layers) :])
    _note_gap(writer, iteration)
    return writer


def _note_gap(writer: RunWriter, iteration: int | None) -> None:
    """Say so where a training goes on later than the run ends: a killed recorder may have lost the last seconds."""
    first = last_of(writer, SCALARS) + 1
    if iteration is not None and 0 < first < iteration:
        writer.note("gap", first=first, stop=iteration)
        warnings.warn(
            f"{writer.storage} ends at iteration {first - 1} and goes on at {iteration}: the {iteration - first} "
            "between them are missing. They were lost when recording was killed, unless the checkpoint is of another "
            "run.",
            RuntimeWarning,
            stacklevel=4,
        )


def in_order_of(storage: Storage, layers: Sequence[RecordedLayer]) -> list[RecordedLayer]:
    """Return the layers in the order of the run that is resumed, where there is one; those it has not come behind.

    A layer that joined the network while it was recorded comes last in the run, wherever the network has it.
    """
    with access(storage):
        if holds_nothing(storage):
            return list(layers)
    places = {layer.name: place for place, layer in enumerate(read_root(storage).manifest.layers)}
    return sorted(layers, key=lambda one: places.get(one.layer.name, len(places)))


def _difference(run: Manifest, contents: Contents) -> str:
    then, now = [layer.name for layer in run.layers], [layer.name for layer in contents.layers]
    if then != now[: len(then)]:
        gone = [name for name in then if name not in now]
        return f"it has {len(then)} layers, the model has {len(now)}; the model lacks {', '.join(gone[:3])}"
    for old, new in zip(run.layers, contents.layers, strict=False):
        if old.shape != new.shape or old.filters != new.filters:
            return f"layer {old.name} has shape {old.shape} there and {new.shape} here"
    there = run.statistics
    here = {LAYERS: contents.layer_statistics, FILTERS: contents.filter_statistics, ACTIVATIONS: contents.activations}
    for family, statistics in here.items():
        before, after = [one.name for one in there[family]], [one.name for one in statistics]
        if before != after:
            names = ", ".join(sorted(set(before) ^ set(after))[:3]) or "their order"
            return f"its statistics of {family} differ in {names}: give the same statistics and activations again"
    return ""


def last_of(writer: RunWriter, family: str) -> int:
    """Return the last iteration of a family of the run; -1 when it has none."""
    entry = writer.manifest.logs.get(family)
    return -1 if entry is None else entry.axis.last


def thumbnails_of(writer: RunWriter) -> Thumbnails:
    """Return the maker of the thumbnails that the run still lacks."""
    shape = tuple(writer.manifest.thumbnail_shape)
    return Thumbnails(writer.pictured, (shape[0], shape[1]) if shape else None)


def first_iteration(writer: RunWriter, iteration: int | None = None) -> int:
    """Return the number of the next optimizer step, if not given: learning rates are recorded at every one."""
    return last_of(writer, SCALARS) + 1 if iteration is None else iteration
