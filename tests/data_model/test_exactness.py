"""Every query of every family equals brute force over the raw records, whatever the run has been through."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptracker.data_model import logs, pyramid
from deeptracker.data_model.reduction import MAX_LEVEL
from deeptracker.data_model.run import Run, open_run
from tests.data_model.histories import CLASSES, EVERY, STEPS, VARIABLE, History, told
from tests.data_model.twin import across, brute_force, levels_of, next_level

DEEPEST = MAX_LEVEL
COUNTS = ("count", "nonfinite")


@pytest.fixture(scope="module", autouse=True)
def every_level_is_stored() -> Iterator[None]:
    """Store levels however few their buckets are, in shards of 16 records, so that few records fill several levels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "records_per_shard", lambda fields: 16)
        patch.setattr(pyramid, "FEWEST_BUCKETS", 1)
        yield


def wanted_buckets(first: int, last: int) -> list[int]:
    """Return the numbers of buckets that ask for each level over records [first, last)."""
    spans = [8**level for level in range(DEEPEST + 1)]
    return [1, *(-(-last // span) - first // span for span in spans)]


def assert_equal(found: xr.Dataset, expected: dict[str, NDArray[Any]], limit: NDArray[Any]) -> None:
    """The mean may be off by what rounding it once per level can add up to; all else is the same to the bit."""
    for name in ("min", "max", *COUNTS):
        values = found[name].values.reshape(expected[name].shape)
        np.testing.assert_array_equal(values, expected[name].astype(values.dtype), err_msg=name)
    mean = found["mean"].values.reshape(expected["mean"].shape)
    assert np.array_equal(np.isnan(mean), np.isnan(expected["mean"]))
    assert np.all(np.abs(np.nan_to_num(mean - expected["mean"])) <= limit)
    known = expected["count"] > 0
    assert np.all(expected["min"][known] <= mean[known])
    assert np.all(mean[known] <= expected["max"][known])


def check(
    run: Run, values: NDArray[Any], iterations: NDArray[np.int64], stop: int, window: tuple[int, int], **asked: Any
) -> None:
    """Ask for a window at every level, and compare with the raw records (records, series); `stop`: where they end."""
    groups = asked.pop("groups", None)
    ends = np.append(iterations[1:], stop)
    first, last = int((ends <= window[0]).sum()), int((iterations < window[1]).sum())
    levels = levels_of(values, DEEPEST)
    for buckets in dict.fromkeys(wanted_buckets(first, max(first, last))):
        found = run.query(**asked, iterations=window, buckets=max(1, buckets))
        level = found.attrs["level"]
        span = found.attrs.get("records_per_bucket", 8**level)
        count = found.sizes["bucket"]
        assert min(buckets, last - first) <= count <= 8 * max(1, buckets) + 8
        if not count:
            assert first >= last
            continue
        records = np.arange(first // span, first // span + count) * span
        assert records[0] <= first
        assert records[-1] < last <= records[-1] + span
        np.testing.assert_array_equal(found.start.values, iterations[records])
        np.testing.assert_array_equal(
            found.stop.values, np.append(ends, stop)[np.minimum(records + span, len(ends)) - 1]
        )
        np.testing.assert_array_equal(found.record_count.values, np.minimum(records + span, len(ends)) - records)
        expected = brute_force(values[: records[-1] + span], records)
        size = np.fmax(np.abs(expected["min"]), np.abs(expected["max"]))
        limit = np.nan_to_num(size) * np.finfo(values.dtype).eps * (level + 2)
        if groups is None:
            assert_equal(found, expected, limit)
            by_definition = next_level(levels[level], span // 8**level) if span > 8**level else levels[level]
            by_definition = by_definition[first // span : first // span + count]
            mean = found["mean"].values.reshape(len(by_definition), -1)
            assert mean.tobytes() == np.ascontiguousarray(by_definition[:, 2]).tobytes()
        for number, members in enumerate(groups.values() if groups else []):
            widest = limit[:, members].max(axis=1, initial=0, keepdims=True) * 2
            assert found.members.values[number] == len(members)
            assert_equal(found.isel(block=[number]), across(expected, members), widest)


def windows_of(history: History, seed: int) -> list[tuple[int, int]]:
    """Return more than the run, and two windows somewhere in it."""
    rng, end = np.random.default_rng(seed), history.at + 1
    some = [tuple(sorted(rng.integers(0, end + 5, 2).tolist())) for _ in range(2)]
    return [(0, end + 1000), *((low, high + 1) for low, high in some)]


def check_all(run: Run, history: History, seed: int) -> None:
    """Check every family that has records, and the network's tree over layers and over filters."""
    names = [layer.name for layer in history.layers]
    owner = np.repeat(np.arange(len(names)), [layer.filters for layer in history.layers])
    inside = {
        block: [n for n, name in enumerate(names) if not block or f"{name}.".startswith(f"{block}.")]
        for block in [*run.blocks, "stage1.0.conv", "stage1.0.norm"]
    }
    assert {"", "stage1", "stage1.0", "stage10"} <= set(run.blocks)
    layers = {block: np.array(numbers) for block, numbers in inside.items()}
    filters = {block: np.flatnonzero(np.isin(owner, numbers)) for block, numbers in inside.items()}
    for window in windows_of(history, seed):
        for family in EVERY:
            values, iterations = history.values[family], history.iterations[family]
            if not len(iterations):
                continue
            asked = {"variable": VARIABLE[family], "family": family}
            stop = int(iterations[-1]) + history.intervals[family]
            check(run, values, iterations, stop, window, **asked)
            if family != "scalars":
                groups = filters if family == "filters" else layers
                check(run, values, iterations, stop, window, **asked, blocks=list(groups), groups=groups)
        if history.validations:
            check_validations(run, history, window)


def check_validations(run: Run, history: History, window: tuple[int, int]) -> None:
    iterations = np.array(history.validations)
    np.testing.assert_array_equal(run.validation.iteration.values, iterations)
    stop = int(iterations[-1]) + 1
    classes = run.classes
    groups = {"pets": np.array([0, 1]), "none": np.empty(0, np.int64)}
    blocks = {"pets": ["cat", 1], "none": []}
    seen, right = run.validation.predicted.values >= 0, run.validation["rank"].values == 0
    with np.errstate(invalid="ignore"):
        overall = ((seen & ~right).sum(axis=1) / seen.sum(axis=1)).astype(np.float32)
    check(run, overall[:, None], iterations, stop, window, variable="error", family="validation")
    for variable in ("error", "loss", "probability"):
        values = classes[variable].values
        check(run, values, iterations, stop, window, variable=variable, family="classes")
        check(run, values, iterations, stop, window, variable=variable, family="classes", blocks=blocks, groups=groups)
    assert list(classes["class"].values) == list(CLASSES)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(STEPS, min_size=1, max_size=9), closed=st.booleans())
def test_any_history_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: list[tuple[Any, ...]], closed: bool
) -> None:
    history = told(tmp_path_factory.mktemp("runs") / "run", seed, steps)
    history.append(1, 1)
    if closed:
        history.writer.close()
    else:
        history.writer.commit()
    check_all(open_run(history.path), history, seed)
    history.writer.close()


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("records", [8**5 - 1, 8**5, 8**5 + 1, 2 * 8**5 + 8**4 + 1])
def test_lengths_around_the_fifth_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int, closed: bool
) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 1024)
    history = History(tmp_path / "run", records)
    for count in (100, 8**4, records - 100 - 8**4):
        history.append(count, 1)
        history.commit()
    run = open_run(history.path)
    if closed:
        history.writer.close()
        assert run.refresh()
        assert len(run._commit.families["layers"].entry.levels) == (5 if records >= 8**5 else 4)
    check_all(run, history, records)
    history.writer.close()


def stored(path: Path) -> dict[str, bytes]:
    """Return all levels of all families as they are read, whichever of their buckets are stored."""
    run, found = open_run(path), {}
    for (name, reader), level in itertools.product(run._commit.families.items(), range(1, DEEPEST + 1)):
        stop, statistics = -(-reader.entry.records // 8**level), range(reader.field.shape[0])
        buckets = [reader.summaries(level, 0, stop, statistic, slice(None)) for statistic in statistics]
        found[f"{name} {level}"] = np.stack(buckets).tobytes()
    return found


PORTIONED = 600


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, every_level_is_stored: None) -> History:
    """Record a run at once, and close it."""
    history = told(tmp_path_factory.mktemp("whole") / "run", 7, [("append", PORTIONED, 1)])
    history.writer.close()
    return history


@settings(max_examples=8, deadline=None)
@given(
    cuts=st.lists(st.integers(1, PORTIONED), max_size=5),
    between=st.lists(st.sampled_from([("commit",), ("resume", True), ("resume", False), ("skip", 0)]), min_size=6),
)
def test_an_index_grown_in_any_portions_is_the_one_built_at_once(
    tmp_path_factory: pytest.TempPathFactory, whole: History, cuts: list[int], between: list[tuple[Any, ...]]
) -> None:
    parts, run = History(tmp_path_factory.mktemp("runs") / "run", 0), open_run(whole.path)
    blocks = {
        family: np.stack([values.values for values in getattr(run, family).data_vars.values()], axis=1)
        for family in EVERY
    }
    edges = sorted({0, PORTIONED, *cuts})
    for (start, stop), (name, *arguments) in zip(itertools.pairwise(edges), between, strict=False):
        for family, every in EVERY.items():
            some = slice(-(-start // every), -(-stop // every))
            iterations = whole.iterations[family][some]
            if family == "scalars":
                parts.writer.append_scalars(iterations, {"loss": blocks[family][some, 0]})
            else:
                getattr(parts.writer, f"append_{family}")(iterations, blocks[family][some], every)
        getattr(parts, name)(*arguments)
    parts.commit()
    assert stored(parts.path) == stored(whole.path)
    parts.writer.close()
    assert stored(parts.path) == stored(whole.path)
