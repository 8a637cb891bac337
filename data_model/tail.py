"""The tail: committed records that do not fill a shard yet, in small files that are written once and never change."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.storage import Storage

FOLDER = "tail"


def write_piece(storage: Storage, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write the records of one flush, each column with the record axis first."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **columns)
    storage.write(f"{FOLDER}/{name}", content.getvalue())


def read_piece(storage: Storage, name: str, rows: int) -> dict[str, NDArray[Any]]:
    """Read one piece. Raises FileNotFoundError where a newer commit replaced it, RunFormatError where it is damaged."""
    content = storage.read(f"{FOLDER}/{name}")
    path = f"{storage}/{FOLDER}/{name}"
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            columns = {key: np.asarray(archive[key]) for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, KeyError, EOFError) as error:
        raise RunFormatError(
            f"{path} is damaged ({error}): its {rows} newest records are lost, all earlier ones are readable. "
            "Resuming the run is refused while it is damaged."
        ) from error
    if any(len(column) != rows for column in columns.values()):
        raise RunFormatError(f"{path} should hold {rows} records and does not; the run's root and its tail disagree.")
    return columns
