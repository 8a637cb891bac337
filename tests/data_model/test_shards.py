"""The direct reader against zarr's own reading: any layout, any selection, missing, partial and damaged shards."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

from deeptracker.data_model.errors import MissingFileError
from deeptracker.data_model.shards import ChunkCache, ShardEncoder, ShardLayout, ShardReader
from deeptracker.data_model.storage import LocalStorage

TYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")


def create(folder: Path, shape: Sequence[int], dtype: str, **options: Any) -> zarr.Array[Any]:
    """Create an array `a` in a folder, with everything that the layout may vary in."""
    inner: list[Any] = [BytesCodec()]
    if options.get("compressed", True):
        inner.append(
            BloscCodec(
                typesize=options.get("typesize", np.dtype(dtype).itemsize), cname="lz4", clevel=5, shuffle="shuffle"
            )
        )
    if options.get("checked", True):
        inner.append(Crc32cCodec())
    sharding = ShardingCodec(
        chunk_shape=options["chunk"],
        codecs=inner,
        index_codecs=[BytesCodec(), Crc32cCodec()] if options.get("index_checked", True) else [BytesCodec()],
        index_location="start" if options.get("index_first", False) else "end",
    )
    store = zarr.storage.LocalStore(folder)
    return zarr.create_array(
        store,
        name="a",
        shape=tuple(shape),
        chunks=options["shard"],
        dtype=dtype,
        fill_value=options.get("fill", 0),
        filters=None,
        compressors=None,
        serializer=sharding,
        config={"write_empty_chunks": options.get("empty", True)},
    )


def reader(folder: Path, cache: ChunkCache | None = None) -> ShardReader:
    """Return the direct reader of array `a`."""
    layout = ShardLayout.of(json.loads((folder / "a" / "zarr.json").read_text()))
    assert layout is not None
    return ShardReader(LocalStorage(folder), "a", layout, "test", cache=cache or ChunkCache(1 << 20))


def values_of(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> NDArray[Any]:
    values = rng.integers(0, 100, size=tuple(shape)).astype(dtype)
    if dtype.startswith("float"):
        values[rng.random(values.shape) < 0.1] = np.nan
        values[rng.random(values.shape) < 0.1] = np.inf
        values[rng.random(values.shape) < 0.1] = -0.0
    return values


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.integers(1, 4))
    chunk = [draw(st.integers(1, 4)) for _ in range(axes)]
    shard = [size * draw(st.integers(1, 3)) for size in chunk]
    shape = [draw(st.integers(0, 2 * size + 1)) for size in shard]
    dtype = draw(st.sampled_from(TYPES))
    fill = draw(st.sampled_from([0, 1] + ([float("nan"), float("-inf"), 2.5] if dtype.startswith("float") else [])))
    flags = {name: draw(st.booleans()) for name in ("compressed", "checked", "index_checked", "index_first", "empty")}
    return {"shape": shape, "chunk": tuple(chunk), "shard": tuple(shard), "dtype": dtype, "fill": fill, **flags}


def indexes(size: int) -> st.SearchStrategy[Any]:
    if not size:
        return st.just(slice(None))
    inside = st.integers(0, size - 1)
    spans = st.tuples(inside, st.integers(0, size)).map(lambda ends: slice(*ends))
    lists = st.lists(inside, min_size=1, max_size=2 * size).map(lambda one: np.array(sorted(one)))
    masks = st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)
    return st.one_of(inside, spans, st.just(slice(None)), st.just(slice(None, None, 2)), lists, masks)


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether two arrays are equal to the bit: NaN of any payload, and the sign of zero."""
    return found.shape == expected.shape and found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


@settings(max_examples=150, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 2**32), data=st.data())
def test_reads_what_zarr_reads(layout: dict[str, Any], seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        array = create(folder, **layout)
        # A corner is written, so that shards are whole, partial or missing, as are chunks within them.
        corner = tuple(slice(0, data.draw(st.integers(0, size))) for size in layout["shape"])
        if all(one.stop for one in corner):
            array[corner] = values_of(rng, [one.stop for one in corner], layout["dtype"])
        direct = reader(folder, ChunkCache(data.draw(st.sampled_from([0, 500, 1 << 20]))))
        for _ in range(3):
            index = tuple(data.draw(indexes(size)) for size in layout["shape"])
            assert same(direct.read(index), np.asarray(array.oindex[index])), (layout, index)


@settings(max_examples=150, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 2**32))
def test_writes_the_files_that_zarr_writes(layout: dict[str, Any], seed: int) -> None:
    layout = {**layout, "index_first": False, "empty": True}
    with tempfile.TemporaryDirectory() as name:
        array = create(Path(name), **layout)
        values = values_of(np.random.default_rng(seed), layout["shape"], layout["dtype"])
        array[...] = values
        encoder = ShardEncoder.of(array.metadata.to_dict())
        assert encoder is not None
        region = tuple(slice(0, size) for size in layout["shape"])
        found = {
            encoder.layout.name(shard): b"".join(encoder.content(shard, lambda part: values[part]))
            for shard in encoder.shards(region)
        }
        files = {file.relative_to(Path(name) / "a").as_posix(): file for file in Path(name).glob("a/c/**/*")}
        assert found == {name: file.read_bytes() for name, file in files.items() if file.is_file()}


@settings(max_examples=100, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 2**32))
def test_zarr_reads_what_was_compressed_thoroughly(layout: dict[str, Any], seed: int) -> None:
    layout = {**layout, "index_first": False, "empty": True}
    with tempfile.TemporaryDirectory() as name:
        array = create(Path(name), **layout)
        values = values_of(np.random.default_rng(seed), layout["shape"], layout["dtype"])
        encoder = ShardEncoder.of(array.metadata.to_dict())
        assert encoder is not None
        for shard in encoder.shards(tuple(slice(0, size) for size in layout["shape"])):
            file = Path(name) / "a" / encoder.layout.name(shard)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"".join(encoder.content(shard, lambda part: values[part], thorough=True)))
        assert same(np.asarray(array[...]), values)
        assert same(reader(Path(name)).read((slice(None),) * values.ndim), values)


@pytest.mark.parametrize(
    "options", [{"index_first": True}, {"typesize": 1}, {"dtype": "float16"}], ids=lambda one: next(iter(one))
)
def test_leaves_to_zarr_the_writing_of_what_it_does_not_know(tmp_path: Path, options: dict[str, Any]) -> None:
    metadata = create(tmp_path, (8,), chunk=(4,), shard=(8,), **{"dtype": "float32", **options}).metadata.to_dict()
    assert ShardEncoder.of(metadata) is None


def test_reads_numbers_in_any_order_and_from_the_end(tmp_path: Path) -> None:
    array = create(tmp_path, (9, 20), "int32", chunk=(2, 4), shard=(4, 8))
    array[:] = np.arange(180).reshape(9, 20)
    whole = np.asarray(array[:])
    rows, columns = np.array([8, 0, 3, 3, -1]), np.array([19, 2, 1, 17])
    assert same(reader(tmp_path).read((rows, columns)), whole[np.ix_(rows, columns)])
    assert same(reader(tmp_path).read((-2, slice(None, None, -3))), whole[-2, ::-3])
    with pytest.raises(IndexError, match="20 entries"):
        reader(tmp_path).read((0, np.array([3, 20])))


@pytest.mark.parametrize("scattered", [1, 0])
def test_gathers_few_entries_and_keeps_only_those(tmp_path: Path, scattered: int) -> None:
    array = create(
        tmp_path,
        (3, 40, 50)[1 - scattered :],
        "uint8",
        chunk=(3, 8, 4)[1 - scattered :],
        shard=(3, 40, 16)[1 - scattered :],
    )
    values = np.random.default_rng(0).integers(0, 9, array.shape).astype(np.uint8)
    array[...] = values
    cache = ChunkCache(1 << 20)
    known = reader(tmp_path, cache)
    for entries in ([39, 2, 17], [5], [2, 17, 39]):
        for window in (slice(0, 50), slice(3, 41), slice(16, 32), slice(7, 7), slice(48, 50)):
            index = (*[slice(None)] * scattered, np.array(entries), window)
            expected = values[index]
            found = np.full_like(expected, 99)
            for chunk, within, into in known.gathered(index):
                assert chunk is not None
                found[into] = chunk[within]
            np.testing.assert_array_equal(found, expected)
    kept = 7 * 50 * (3 if scattered else 1)  # what was asked for, once
    assert kept <= cache.bytes <= kept + 4 * known.layout.index_bytes


def test_keeps_the_bits_of_a_nan(tmp_path: Path) -> None:
    array = create(tmp_path, (8,), "float32", chunk=(4,), shard=(8,), fill=float("nan"))
    marked = np.array([1, np.nan, 3], np.float32)
    marked.view(np.uint32)[1] = 0x7FC00001
    array[:3] = marked
    assert same(reader(tmp_path).read((slice(0, 3),)), marked)
    assert reader(tmp_path).read((slice(3, 8),)).view(np.uint32).tolist() == [0x7FC00000] * 5


@pytest.mark.parametrize(
    "change",
    [
        {"data_type": "float16"},
        {"zarr_format": 2, "codecs": None},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]},
        {"chunk_grid": {"name": "rectangular"}},
        {"chunk_key_encoding": {"name": "v2"}},
        {"storage_transformers": [{"name": "unknown"}]},
        {"shape": [3, 3]},
        {"fill_value": "zero"},
    ],
)
def test_leaves_to_zarr_what_it_does_not_know(tmp_path: Path, change: dict[str, Any]) -> None:
    create(tmp_path, (8,), "float32", chunk=(4,), shard=(8,))
    metadata = json.loads((tmp_path / "a" / "zarr.json").read_text())
    assert ShardLayout.of(metadata) is not None
    assert ShardLayout.of({**metadata, **change}) is None


@pytest.mark.parametrize("codecs", ["codecs", "index_codecs"])
@pytest.mark.parametrize("name", ["gzip", "transpose"])
def test_leaves_other_codecs_to_zarr(tmp_path: Path, codecs: str, name: str) -> None:
    create(tmp_path, (8,), "float32", chunk=(4,), shard=(8,))
    metadata = json.loads((tmp_path / "a" / "zarr.json").read_text())
    metadata["codecs"][0]["configuration"][codecs].append({"name": name})
    assert ShardLayout.of(metadata) is None


@pytest.mark.parametrize("checked", [True, False])
def test_notices_every_flipped_byte(tmp_path: Path, checked: bool) -> None:
    """With checksums every changed byte is noticed; without, none may crash or give back another shape."""
    array = create(tmp_path, (64,), "float32", chunk=(32,), shard=(64,), checked=checked)
    array[:] = np.sin(np.arange(64))
    file = tmp_path / "a/c/0"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        if checked:
            with pytest.raises(ValueError, match="a/c/0"):
                reader(tmp_path).read((slice(None),))
        else:
            with suppress(ValueError):
                assert reader(tmp_path).read((slice(None),)).shape == (64,)


@pytest.mark.parametrize("index_checked", [True, False])
def test_notices_where_a_file_ends_early(tmp_path: Path, index_checked: bool) -> None:
    array = create(tmp_path, (64,), "float32", chunk=(32,), shard=(64,), index_checked=index_checked)
    array[:] = np.sin(np.arange(64))
    file = tmp_path / "a/c/0"
    whole = file.read_bytes()
    for length in range(1, len(whole)):  # an empty one counts as none, as for zarr
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="a/c/0"):
            reader(tmp_path).read((slice(None),))


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_required_shard_that_was_lost_is_named(tmp_path: Path, how: str) -> None:
    create(tmp_path, (128,), "float32", chunk=(32,), shard=(64,), fill=5)[:] = 1
    file = tmp_path / "a/c/1"
    file.unlink() if how == "missing" else file.write_bytes(b"")
    known = reader(tmp_path)
    assert known.read((slice(60, 68),)).tolist() == [1] * 4 + [5] * 4
    strict = ShardReader(LocalStorage(tmp_path), "a", known.layout, "test", lambda shard: shard == (1,), ChunkCache(0))
    assert strict.read((slice(0, 64),)).tolist() == [1] * 64
    with pytest.raises(MissingFileError, match=f"a/c/1 is {how}"):
        strict.read((slice(60, 68),))


def test_an_index_that_lies_asks_for_no_memory(tmp_path: Path) -> None:
    create(tmp_path, (64,), "float32", chunk=(32,), shard=(64,), index_checked=False)[:] = 1
    file = tmp_path / "a/c/0"
    body = file.read_bytes()[:-32]
    for offset, length in ((0, 2**62), (2**63, 20), (2**64 - 2, 2**64 - 2)):
        file.write_bytes(body + np.array([offset, length] * 2, "<u8").tobytes())
        with pytest.raises(ValueError, match="where none can be"):
            reader(tmp_path).read((slice(None),))


def test_sees_a_partial_shard_that_was_replaced(tmp_path: Path) -> None:
    """A reader that knows the index of a partial shard reads on when a longer shard has taken its place."""
    array = create(tmp_path, (64,), "float32", chunk=(16,), shard=(64,))
    values = np.random.default_rng(0).normal(size=64).astype(np.float32)
    array[:40] = values[:40]
    old = reader(tmp_path, ChunkCache(1 << 20))
    assert same(old.read((slice(0, 16),)), values[:16])
    array[:] = values
    assert same(old.read((slice(0, 40),)), values[:40])


def test_the_cache_keeps_to_its_limit_and_gives_up_what_is_oldest() -> None:
    cache = ChunkCache(100)
    for key in range(5):
        cache.put(key, np.zeros(40, np.uint8))
        cache.get(0)
        assert cache.bytes <= 100
    assert [key for key in range(5) if cache.get(key) is not None] == [0, 4]
    cache.put("large", np.zeros(101, np.uint8))
    assert cache.get("large") is None
    assert cache.bytes == 80
    cache.put(4, np.zeros(10, np.uint8))
    assert cache.bytes == 50
    cache.clear()
    assert cache.bytes == 0


def test_many_threads_read_the_same(tmp_path: Path) -> None:
    array = create(tmp_path, (4, 400), "float64", chunk=(1, 8), shard=(4, 40))
    values = np.random.default_rng(0).normal(size=(4, 400))
    array[:] = values
    direct, wrong = reader(tmp_path, ChunkCache(3000)), []

    def look(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(60):
            start, stop = np.sort(rng.integers(0, 401, size=2))
            row = int(rng.integers(4))
            if not same(direct.read((row, slice(start, stop))), values[row, start:stop]):
                wrong.append((row, start, stop))

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
