"""Exports as arrays: netCDF and Zarr, which xarray opens; a group per family where there are several."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from deeptracker.data_model.export.source import Source
from deeptracker.data_model.export.tables import Tell
from deeptracker.data_model.export.target import MARK

_CHUNK_BYTES = 64 << 20
"""A chunk has no more bytes than this, except where a single record has."""


def write_tree(
    path: Path, sources: Mapping[str, Source], about: Mapping[str, Any], tell: Tell, *, netcdf: bool
) -> None:
    """Write families, by the group each is to lie in (empty: the root), piece by piece.

    Values are as they were recorded, to the bit: a plain NaN where nothing was, a NaN with payload 1 where a NaN was.
    """
    root = xr.Dataset(attrs={"kind": MARK, **about})
    if netcdf:
        root.to_netcdf(path, engine="h5netcdf")
    else:
        root.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    for group, source in sources.items():
        dataset = _named(source.dataset)
        if not group:
            dataset = dataset.assign_attrs(root.attrs)  # some formats replace what the root says
        _outline(path, group, dataset, source, netcdf)
        with _opened(path, group, dataset.sizes[source.dim], source.dim, netcdf) as arrays:
            _fill(arrays, dataset, source, tell)
    if not netcdf:
        with warnings.catch_warnings(action="ignore"):  # that this is not in the specification yet
            zarr.consolidate_metadata(str(path), zarr_format=3)


def _named(dataset: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with names that can be those of arrays in a file: without slashes, and none twice."""
    taken, renamed = {str(name) for name in dataset.variables}, {}
    for name in [str(name) for name in dataset.data_vars if "/" in str(name)]:
        plain = name.replace("/", ".")
        while plain in taken:
            plain += "_"
        taken.add(plain)
        renamed[name] = plain
    dataset = dataset.rename(renamed)
    for name, plain in renamed.items():
        dataset[plain].attrs["name"] = name
    return dataset


def _outline(path: Path, group: str, dataset: xr.Dataset, source: Source, netcdf: bool) -> None:
    """Write everything but the values along the dimension that grows."""
    outline = dataset.isel({source.dim: slice(0, 0)})
    encoding: dict[str, Any] = {}
    for name, one in dataset.variables.items():
        chunks = _chunks(one, source.dim, source.rows(dataset))
        if chunks and netcdf and one.dtype.kind not in "OUT":
            encoding[str(name)] = {"chunksizes": chunks, "zlib": True, "complevel": 1, "shuffle": True}
        elif chunks and not netcdf:
            encoding[str(name)] = {"chunks": chunks}
        if one.dtype.kind in "OUT" and netcdf:
            encoding.setdefault(str(name), {})["dtype"] = str  # of none at all xarray would not know the type
        elif one.dtype.kind in "OUT":
            outline = outline.assign({name: outline[name].astype(np.dtypes.StringDType())})
        if one.dtype.kind == "f":
            encoding.setdefault(str(name), {})["_FillValue"] = None
    if netcdf:
        options: Any = {"unlimited_dims": [source.dim]} if source.dim in dataset.dims else {}
        outline.to_netcdf(path, mode="a", engine="h5netcdf", group=group or None, encoding=encoding, **options)
    else:
        outline.to_zarr(path, mode="a", zarr_format=3, consolidated=False, group=group or None, encoding=encoding)


def _chunks(variable: xr.Variable, dim: str, rows: int) -> tuple[int, ...]:
    """Return the shape of a chunk; nothing for a variable that does not grow."""
    if not variable.ndim or variable.dims[0] != dim:
        return ()
    beside = int(np.prod(variable.shape[1:])) * variable.dtype.itemsize
    fitting = max(1, _CHUNK_BYTES // max(1, beside))
    return (max(1, min(rows, fitting, variable.shape[0])), *(max(1, size) for size in variable.shape[1:]))


@contextmanager
def _opened(path: Path, group: str, size: int, dim: str, netcdf: bool) -> Iterator[Mapping[str, Any]]:
    """Open the arrays of a group for writing, `size` entries long."""
    if netcdf:
        import h5netcdf

        with h5netcdf.File(path, "a") as file:
            inner = file[group] if group else file
            inner.resize_dimension(dim, size)
            yield inner.variables
    else:
        # Chunks of nothing but recorded NaN would be left out otherwise, and read as not recorded.
        with zarr.config.set({"array.write_empty_chunks": True}):
            inner = zarr.open_group(path, mode="a", path=group, use_consolidated=False)
            arrays = dict(inner.arrays())
            for array in arrays.values():
                names = getattr(array.metadata, "dimension_names", None)
                if names and names[0] == dim:
                    array.resize((size, *array.shape[1:]))
            yield arrays


def _fill(arrays: Mapping[str, Any], dataset: xr.Dataset, source: Source, tell: Tell) -> None:
    growing = [name for name, one in dataset.variables.items() if one.dims[:1] == (source.dim,)]
    for span in source.pieces(dataset):
        for name in growing:
            values = dataset.variables[name][span].values
            arrays[str(name)][span] = values
            if name in dataset.data_vars:
                tell(values.nbytes)
