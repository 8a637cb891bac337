"""Everything that can be read of the run that `formats.recording` records, part by part."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.shards import CHUNKS

Parts = dict[str, "NDArray[Any] | RunFormatError"]


def parts(run: Run) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what can be read, by name, as functions that read it."""
    for family in ("layers", "filters", "activations", "scalars"):
        dataset = getattr(run, family)
        for name in dataset.data_vars:
            yield f"{family} {name}", lambda dataset=dataset, name=name: dataset[name].values
            for buckets in (1, 12, 60):
                yield (
                    f"{family} {name} in {buckets}",
                    lambda family=family, name=name, buckets=buckets: run.query(
                        str(name), family=family, buckets=buckets
                    ).to_array(),
                )
    yield "validations", lambda: np.stack([run.validation[name].values for name in ("predicted", "rank")])
    yield "probabilities", lambda: run.validation.probability.values
    yield "classes", lambda: run.classes.to_array().values
    yield "relabelled", lambda: run.relabelled.to_numpy().astype(str)
    for row in range(run.images.sizes["image"]):
        yield f"thumbnail {row}", lambda row=row: run.thumbnail(row)
    for layer in run.layer_list:
        for number in run.snapshots_of(layer.name):
            yield f"{layer.name} in snapshot {number}", lambda layer=layer, n=number: run.kernels(layer.name, n)


def read_everything(path: Path) -> Parts:
    """Read everything of a run; what cannot be read as the error that said so. No other error is expected."""
    CHUNKS.clear()
    try:
        run = open_run(path)
        found: Parts = {"names": np.array([*run.images.id.values, *run.class_names], str)}
        readers = list(parts(run))
    except RunFormatError as error:
        return {"run": error}
    for name, read in readers:
        try:
            value = read()
            found[name] = np.zeros(0) if value is None else np.asarray(value)
        except RunFormatError as error:
            found[name] = error
    return found


@contextlib.contextmanager
def damaged(path: Path, name: str, content: bytes | None) -> Iterator[None]:
    """Give a file of the run another content, or take it away, for a while."""
    file = path / name
    before = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


def copied(path: Path, to: Path) -> Path:
    """Copy a run."""
    shutil.copytree(path, to)
    return to


def names(path: Path) -> list[str]:
    """Return the names of all files of a run."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
