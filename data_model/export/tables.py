"""Exports as tables: Parquet and CSV, a row per record and entity, a column per statistic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from deeptracker.data_model.export.source import CELL_DIMS, NOT_RECORDED, Source, bytes_of
from deeptracker.data_model.missing import is_missing

if TYPE_CHECKING:
    import pyarrow as pa

Tell = Callable[[int], None]
"""Is told of how many more bytes have been read."""


def write_table(path: Path, source: Source, tell: Tell, *, parquet: bool) -> None:
    """Write a family as one Parquet or CSV file, piece by piece.

    What was not recorded is null (empty in CSV); a NaN that was recorded is NaN.
    """
    with _writer(path, to_table(_piece(source.flat[0], source.dim, slice(0, 0)), plain=not parquet), parquet) as write:
        for dataset in source.flat:
            for span in source.pieces(dataset):
                piece = _piece(dataset, source.dim, span)
                write(to_table(piece, plain=not parquet))
                tell(bytes_of(piece))


@contextmanager
def _writer(path: Path, empty: pa.Table, parquet: bool) -> Iterator[Callable[[pa.Table], Any]]:
    if parquet:
        from pyarrow.parquet import ParquetWriter

        floats = [field.name for field in empty.schema if str(field.type) in ("float", "double")]
        others = [field.name for field in empty.schema if field.name not in floats]
        # Floats hardly ever repeat: their bytes, sorted by place, compress instead.
        options: Any = {"use_dictionary": others, "use_byte_stream_split": floats}
        with ParquetWriter(path, empty.schema, compression="zstd", **options) as file:
            yield file.write_table
    else:
        from pyarrow.csv import CSVWriter

        with CSVWriter(path, empty.schema) as lines:
            yield lines.write_table


def _piece(dataset: xr.Dataset, dim: str, span: slice) -> xr.Dataset:
    return dataset.isel({dim: span}).load()


def to_table(piece: xr.Dataset, *, plain: bool = False) -> pa.Table:
    """Flatten a Dataset to a table: a row for each combination of its dimensions, the first varying slowest.

    Coordinates come first, then the variables. Names become dictionaries, pictures tensors; `plain` makes the former
    text and leaves the latter out.
    """
    import pyarrow as pa

    dims = _dims(piece)
    sizes = {dim: piece.sizes[dim] for dim in dims}
    # A dimension without names of its own is told by what lies along it: validations by their iteration.
    variables = {str(name): one for name, one in {**piece.coords, **piece.data_vars}.items()}
    columns, fields = [], []
    for name in sorted(variables, key=lambda name: _rank(variables[name].variable, name in piece.coords, dims)):
        column = _column(variables[name].variable, sizes, piece.get("has_thumbnail"), plain)
        if column is not None:
            attrs = {key: str(value) for key, value in variables[name].attrs.items() if value != ""}
            fields.append(pa.field(name, column.type, metadata=attrs or None))
            columns.append(column)
    about = {"deeptracker": json.dumps({key: _plain(value) for key, value in piece.attrs.items()})}
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=about))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _dims(piece: xr.Dataset) -> list[str]:
    """Return the dimensions of the rows: those of the variables, which share them."""
    widest = max((one.dims for one in piece.data_vars.values()), key=len, default=tuple(piece.dims))
    return [str(dim) for dim in widest if dim not in CELL_DIMS]


def _rank(variable: xr.Variable, coordinate: bool, dims: Sequence[str]) -> tuple[bool, int]:
    """Coordinates of the first dimension first, variables last."""
    return (not coordinate, dims.index(str(variable.dims[0])) if coordinate and variable.dims else 0)


def _column(variable: xr.Variable, sizes: dict[str, int], has_picture: Any, plain: bool) -> pa.Array | None:
    import pyarrow as pa

    if CELL_DIMS & set(variable.dims):
        return None if plain else _pictures(variable, has_picture)
    if variable.dtype.kind in "OUT":
        codes, names = pd.factorize(np.atleast_1d(variable.values).astype(object))
        indices = _spread(variable.copy(data=codes.reshape(variable.shape)), sizes).astype(np.int32)
        known = pa.DictionaryArray.from_arrays(pa.array(indices, mask=indices < 0), pa.array(names, pa.string()))
        return known.cast(pa.string()) if plain else known
    values = _spread(variable, sizes)
    if values.dtype.kind == "f":
        return pa.array(values, mask=is_missing(values), from_pandas=False)
    absent = variable.attrs.get(NOT_RECORDED)
    return pa.array(values, mask=None if absent is None else values == absent)


def _spread(variable: xr.Variable, sizes: dict[str, int]) -> Any:
    """Return the values of every row."""
    return np.ascontiguousarray(variable.set_dims(sizes).transpose(*sizes).values).reshape(-1)


def _pictures(variable: xr.Variable, has_picture: Any) -> pa.Array:
    import pyarrow as pa

    kind = pa.fixed_shape_tensor(pa.uint8(), variable.shape[1:])
    size = int(np.prod(variable.shape[1:]))
    flat = pa.array(np.ascontiguousarray(variable.values).reshape(-1))
    mask = pa.array(~has_picture.values)
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, size, mask=mask))
