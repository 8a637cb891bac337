"""Rows that wait for their shard: any part of them is what was put there, in memory and in a file."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptracker.data_model import scratch
from deeptracker.data_model.arrays import Field
from deeptracker.data_model.pending import Pending

CAPACITY = 9


def field(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Field:
    return Field("value", "float32", np.nan, tuple("abc"[: len(shape)]), shape, chunks, shape)


@pytest.fixture(params=["memory", "file"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    return str(request.param)


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return found.shape == expected.shape and found.tobytes() == expected.tobytes()


@st.composite
def shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    axes = draw(st.integers(0, 3))
    sizes = st.lists(st.integers(1, 5), min_size=axes, max_size=axes).map(tuple)
    return draw(sizes), draw(sizes)


@settings(max_examples=100, deadline=None)
@given(shape=shapes(), portions=st.lists(st.integers(0, 4), max_size=4), in_file=st.booleans(), data=st.data())
def test_any_part_of_the_rows_is_what_was_appended(
    shape: tuple[tuple[int, ...], tuple[int, ...]], portions: list[int], in_file: bool, data: st.DataObject
) -> None:
    rng, expected = np.random.default_rng(0), np.empty((0, *shape[0]), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "IN_MEMORY", 0 if in_file else 1 << 20)
        pending = Pending(field(*shape), CAPACITY, None)
        for portion in portions:
            if len(expected) + portion > CAPACITY:
                pending.clear()
                expected = expected[:0]
            more: NDArray[Any] = rng.normal(size=(portion, *shape[0])).astype(np.float32)
            pending.append(more)
            expected = np.concatenate([expected, more])
        ends = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in expected.shape]
        (start, stop), *place = ends
        some = expected[start:stop]
        part = tuple(slice(*one) for one in place)
        assert same(pending.block(part, start, stop), some[(slice(None), *part)])
        assert same(pending.rows(start, stop), some)
        assert same(np.concatenate([some[:0], *pending.portions(start, stop)]), some)


def test_rows_that_get_more_entities_are_blank_there(kept: str, tmp_path: Path) -> None:
    before = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    pending = Pending(field((3, 4), (1, 3)), CAPACITY, tmp_path, np.array([[1], [2], [3]]))
    pending.append(before)
    grown = pending.grown(field((3, 7), (1, 5)))
    after = np.broadcast_to(np.array([1, 2, 3], np.float32)[:, None], (2, 3, 7)).copy()
    after[:, :, :4] = before
    assert grown.rows(0, 2).tolist() == after.tolist()
    grown.append(after)
    assert grown.rows(2, 4).tolist() == after.tolist()


def test_more_rows_than_there_is_room_for_are_refused(kept: str) -> None:
    pending = Pending(field((2,), (2,)), 3, None)
    pending.append(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="2 rows more than 2, where there is room for 3"):
        pending.append(np.zeros((2, 2), np.float32))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are seen in /proc")
def test_a_file_of_rows_has_no_name_and_goes_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    pending = Pending(field((2,), (2,)), 3, tmp_path)
    pending.append(np.zeros((2, 2), np.float32))
    assert len(_open_below(tmp_path)) == 1
    assert os.listdir(tmp_path) == []
    del pending
    gc.collect()
    assert _open_below(tmp_path) == []


def _open_below(folder: Path) -> list[str]:
    """Files below `folder` that this process holds open; those without a name too (other tests' files come and go)."""
    opened = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            opened.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in opened if path.startswith(str(folder))]
