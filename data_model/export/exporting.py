"""Exports families of a run to a file or a folder, in one of the formats there are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from deeptracker.data_model.errors import ExportError
from deeptracker.data_model.export.source import Source, bytes_of
from deeptracker.data_model.export.tables import Tell, write_table
from deeptracker.data_model.export.target import MARK, TABLES, put_in_place
from deeptracker.data_model.export.trees import write_tree
from deeptracker.data_model.storage import Storage

Progress = Callable[[int, int], None]
"""Is told how many bytes have been read, and how many there are."""


class Format(StrEnum):
    """The formats that can be written."""

    PARQUET = "parquet"
    CSV = "csv"
    NETCDF = "netcdf"
    ZARR = "zarr"

    @property
    def suffix(self) -> str:
        """How names of files of this format end."""
        return ".nc" if self is Format.NETCDF else f".{self.value}"

    @property
    def tabular(self) -> bool:
        """Whether this is a format of tables."""
        return self in (Format.PARQUET, Format.CSV)


def format_of(target: str | os.PathLike[str], given: str | None) -> Format:
    """Return the format that is given, or that the name of the target asks for; ExportError where neither says."""
    allowed = ", ".join(Format)
    if given is not None:
        if given not in list(Format):
            raise ExportError(f"There is no format {given!r}; allowed are {allowed}.")
        return Format(given)
    suffix = Path(target).suffix
    found = next((one for one in Format if one.suffix == suffix), None)
    if found is None:
        suffixes = ", ".join(one.suffix for one in Format)
        raise ExportError(
            f"The name {Path(target).name!r} says no format: let it end in {suffixes}, or give one of {allowed}."
        )
    return found


def export(
    sources: Sequence[Source],
    target: str | os.PathLike[str],
    kind: Format,
    about: Mapping[str, Any],
    storage: Storage,
    *,
    alone: bool,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write families to a target, and return its path.

    `alone`: one family, which becomes the file itself, or the root of a tree; otherwise tables become a folder with a
    file per family, trees a group per family. `about` says what run this is. `storage` is that of the run.
    """
    if "://" in os.fspath(target):
        raise ExportError(
            f"An export goes to this machine, and {target} is a URL. Give a path, and copy it from there."
        )
    path, tell = Path(target), _counted(sources, kind, progress)
    with put_in_place(path, overwrite, storage) as unfinished, _needed():
        if not kind.tabular:
            groups = {"" if alone else source.family: source for source in sources}
            write_tree(unfinished, groups, _texts(about), tell, netcdf=kind is Format.NETCDF)
        elif alone:
            write_table(unfinished, sources[0], tell, parquet=kind is Format.PARQUET)
        else:
            unfinished.mkdir()
            for source in sources:
                file = unfinished / f"{source.family}{kind.suffix}"
                write_table(file, source, tell, parquet=kind is Format.PARQUET)
            text = json.dumps({"kind": MARK, **about}, indent=2)
            (unfinished / TABLES).write_text(text, encoding="utf-8")
    return path


def _texts(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that every format can hold."""
    return {name: value if isinstance(value, str | int | float) else json.dumps(value) for name, value in about.items()}


def _counted(sources: Sequence[Source], kind: Format, progress: Progress | None) -> Tell:
    datasets = [one for source in sources for one in (source.flat if kind.tabular else [source.dataset])]
    done, total = 0, sum(map(bytes_of, datasets))

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return tell


@contextmanager
def _needed() -> Any:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pyarrow", "h5netcdf", "h5py"):
            raise
        raise ExportError(
            f"This format needs {error.name}. Install it with: pip install 'deeptracker[export]'"
        ) from error
