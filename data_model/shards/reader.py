"""Reads selections of a sharded array, chunk by chunk, with nothing between the files and numpy."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import MissingFileError
from deeptracker.data_model.shards.cache import CHUNKS, ChunkCache
from deeptracker.data_model.shards.decode import Index, decode_chunk, decode_index
from deeptracker.data_model.shards.layout import Coordinates, ShardLayout
from deeptracker.data_model.shards.selection import Part, parts
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.strict_store import missing

_NO_CHUNK = 2**64 - 1
_LARGEST_FILE = 2**60
_ATTEMPTS = 3


class _EmptyFileError(Exception):
    """A file without content, which zarr takes for one that was never written."""


class Piece(NamedTuple):
    """A chunk's part in a selection: `chunk[within]` belongs at `result[into]`; without a chunk, the fill value."""

    chunk: NDArray[Any] | None
    within: tuple[Any, ...]
    into: tuple[Any, ...]


class ShardReader:
    """Reads one array as of one commit.

    Where a shard lies in its file and what its chunks hold is kept in `cache`. A file never changes under one name,
    with one exception: the partial shard of a run that was closed is replaced by a longer one when recording went
    on. So what is kept is known by `source` (the run, and how often it was cut back) and by how much of the shard
    the commit names; and a chunk that does not decode is looked up again in the file as it is now.
    """

    def __init__(
        self,
        storage: Storage,
        path: str,
        layout: ShardLayout,
        source: Hashable,
        required: Callable[[Coordinates], bool] = lambda shard: False,
        cache: ChunkCache = CHUNKS,
    ) -> None:
        """Take the array's path and layout; nothing is read yet.

        A shard that is not there holds the fill value, unless it is `required`: then it was lost.
        """
        self.path, self.layout, self._required = path, layout, required
        self._storage, self._cache, self._source = storage, cache, (source, path)

    @property
    def shape(self) -> Coordinates:
        """The shape of the array."""
        return self.layout.shape

    def read(self, index: Sequence[Any]) -> NDArray[Any]:
        """Return a selection, an index along each axis, each for itself (as zarr's `oindex`)."""
        return self._read(index)

    def _read(self, index: Sequence[Any], *, keep: bool = True) -> NDArray[Any]:
        along, lengths = self._parts(index)
        out = np.empty([length for length in lengths if length is not None], self.layout.dtype)
        for chunk, within, into in self._pieces(along, keep=keep):
            _put(out, into, self.layout.fill if chunk is None else _take(chunk, within))
        return out

    def pieces(self, index: Sequence[Any]) -> Iterator[Piece]:
        """Return every chunk that a selection touches; in `into` there is nothing for an axis that a number takes."""
        return self._pieces(self._parts(index)[0])

    def gathered(self, index: Sequence[Any]) -> Iterator[Piece]:
        """Return a selection in pieces of a shard along the last axis, of which `index` takes a slice.

        For few entries that lie far apart: what is kept is what was picked of a shard, and not all the chunks in which
        it lies, so that another window of the same entries finds it.
        """
        *chosen, window = index
        start, stop, _ = window.indices(self.shape[-1])
        words = hashlib.blake2b(b"".join(_words(one) for one in chosen), digest_size=16).digest()
        size = self.layout.shard[-1]
        for number in range(start // size, -(-stop // size) if stop > start else 0):
            begin, end = number * size, min((number + 1) * size, self.shape[-1])
            key = (*self._source, words, number, end - begin, self.shape)
            block = self._cache.get(key)
            if block is None:
                block = self._read((*chosen, slice(begin, end)), keep=False)
                self._cache.put(key, block)
            low, high = max(begin, start), min(end, stop)
            whole = tuple(slice(0, length) for length in block.shape[:-1])
            yield Piece(block, (*whole, slice(low - begin, high - begin)), (*whole, slice(low - start, high - start)))

    def _parts(self, index: Sequence[Any]) -> tuple[list[list[Part]], list[int | None]]:
        layout = self.layout
        cut = [parts(*one) for one in zip(index, layout.shape, layout.chunk, strict=True)]
        return [one for one, _ in cut], [length for _, length in cut]

    def _pieces(self, along: Sequence[Sequence[Part]], *, keep: bool = True) -> Iterator[Piece]:
        layout = self.layout
        by_shard: dict[Coordinates, list[tuple[Part, ...]]] = {}
        for one in itertools.product(*along):
            shard = tuple(part.chunk // grid for part, grid in zip(one, layout.grid, strict=True))
            by_shard.setdefault(shard, []).append(one)
        for shard, group in by_shard.items():
            inner = [tuple(part.chunk % grid for part, grid in zip(one, layout.grid, strict=True)) for one in group]
            for one, chunk in zip(group, self._chunks(shard, inner, keep), strict=True):
                into = tuple(part.into for part in one if part.into is not None)
                yield Piece(chunk, tuple(part.within for part in one), into)

    def _chunks(self, shard: Coordinates, inner: Sequence[Coordinates], keep: bool) -> list[NDArray[Any] | None]:
        """Return chunks of a shard by their places in it; None for those it does not have."""
        key = (*self._source, shard, self.layout.extent(shard))
        numbers = [_number(place, self.layout.grid) for place in inner]
        found = {number: self._cache.get((*key, number)) for number in numbers}
        unknown = [number for number, chunk in found.items() if chunk is None]
        if unknown:
            found.update(self._load(shard, key, unknown, keep))
        return [found[number] for number in numbers]

    def _load(
        self, shard: Coordinates, key: tuple[Hashable, ...], numbers: list[int], keep: bool
    ) -> dict[int, NDArray[Any] | None]:
        """Read chunks of a shard from its file; again where the file was replaced meanwhile, or since."""
        name = f"{self.path}/{self.layout.name(shard)}"
        for attempt in range(_ATTEMPTS):
            try:
                return self._read_chunks(name, key, numbers, keep)
            except (FileNotFoundError, _EmptyFileError) as error:
                if self._required(shard):
                    how = "empty" if isinstance(error, _EmptyFileError) else "missing"
                    raise MissingFileError(missing(f"{self._storage}/{name}", how)) from error
                return dict.fromkeys(numbers)
            except ValueError as error:
                self._cache.forget(key)
                if attempt == _ATTEMPTS - 1:
                    raise ValueError(f"{name}: {error}") from error
        raise AssertionError

    def _read_chunks(
        self, name: str, key: tuple[Hashable, ...], numbers: list[int], keep: bool
    ) -> dict[int, NDArray[Any] | None]:
        index = self._index(name, key)
        there = [number for number in numbers if index[number, 0] != _NO_CHUNK]
        ranges = [(offset, length) for offset, length in index[there].tolist()]
        if any(offset > _LARGEST_FILE or length > self.layout.most_bytes for offset, length in ranges):
            raise ValueError(f"its index places chunks at {ranges[:4]}, where none can be")
        found: dict[int, NDArray[Any] | None] = dict.fromkeys(numbers)
        if not there:
            return found
        for number, (_, length), content in zip(there, ranges, self._storage.read_ranges(name, ranges), strict=True):
            if len(content) != length:
                raise ValueError(f"chunk {number} should have {length} bytes, and only {len(content)} are there")
            chunk = found[number] = decode_chunk(content, self.layout)
            if keep:
                self._cache.put((*key, number), chunk)
        return found

    def _index(self, name: str, key: tuple[Hashable, ...]) -> Index:
        known = self._cache.get(key)
        if known is not None:
            return known
        size = self.layout.index_bytes
        content = self._storage.read_range(name, 0 if self.layout.index_first else -size, size)
        if not content:
            raise _EmptyFileError(name)
        index = decode_index(content, self.layout)
        self._cache.put(key, index)
        return index


def _number(place: Coordinates, grid: Coordinates) -> int:
    number = 0
    for one, size in zip(place, grid, strict=True):
        number = number * size + one
    return number


def _words(index: Any) -> bytes:
    """Return what tells an index along an axis from all others."""
    if isinstance(index, slice | int | np.integer):
        return repr(index).encode()
    numbers = np.asarray(index, np.int64)
    return repr(numbers.shape).encode() + numbers.tobytes()


def _take(chunk: NDArray[Any], within: tuple[Any, ...]) -> NDArray[Any]:
    for axis, one in reversed(list(enumerate(within))):  # from the last on: a number takes its axis away
        chunk = chunk[(slice(None),) * axis + (one,)]
    return chunk


def _put(out: NDArray[Any], into: tuple[Any, ...], values: Any) -> None:
    if sum(not isinstance(one, slice) for one in into) < 2:
        out[into] = values
    else:
        sizes = zip(into, out.shape, strict=True)
        out[np.ix_(*(np.arange(size)[one] if isinstance(one, slice) else one for one, size in sizes))] = values
