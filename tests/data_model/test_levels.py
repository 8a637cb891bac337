"""The stored levels: deep ones, resumed ones, ones written in other portions; all equal bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from deeptracker.data_model import logs, scratch
from deeptracker.data_model.missing import recorded
from deeptracker.data_model.reduction import combine_series, merge_buckets, summarise_records
from deeptracker.data_model.run import open_run
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import assert_exact, start, wild

RECORDS = 16 * 8**3 + 777


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 16 records, so that few records fill the third level."""
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)


def record(path: Path, values: NDArray[np.float32], portions: list[int], resume_after: int | None = None) -> None:
    writer = start(path)
    first = 0
    for number, portion in enumerate(portions):
        stop = min(first + portion, len(values))
        writer.append_layers(np.arange(first, stop), values[first:stop])
        first = stop
        if number == resume_after:
            writer.close()
            writer = RunWriter.resume(path)
    writer.close()


def stored(path: Path) -> dict[str, NDArray[np.float32]]:
    group = zarr.open_group(path, mode="r")
    return {
        name: np.asarray(group[name][...])  # type: ignore[index]
        for name, node in group.members(max_depth=None)
        if isinstance(node, zarr.Array) and name.startswith("layers/level") and node.dtype == np.float32
    }


@pytest.mark.usefixtures("small_shards")
def test_deep_levels_are_exact_live_and_closed(tmp_path: Path) -> None:
    values, iterations = wild(5, RECORDS), np.arange(RECORDS)
    writer = start(tmp_path / "run")
    writer.append_layers(iterations, values)
    writer.commit()
    run = open_run(tmp_path / "run")
    windows = [(0, RECORDS), (1000, 6_000), (RECORDS - 900, RECORDS)]
    for window in windows:
        for buckets in (2, 20, 90):
            assert_exact(run, values, iterations, window, buckets)
    writer.close()
    assert run.refresh()
    assert len(run._commit.families["layers"].entry.levels) >= 3
    for window in windows:
        for buckets in (2, 20, 90):
            assert_exact(run, values, iterations, window, buckets)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("resume_after", [None, 0, 3])
@pytest.mark.parametrize("waiting", ["in memory", "in files"])
def test_levels_do_not_depend_on_portions_or_resumes_or_where_rows_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume_after: int | None, waiting: str
) -> None:
    values = wild(6, 3_000)
    record(tmp_path / "whole", values, [3_000])
    if waiting == "in files":
        monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    record(tmp_path / "parts", values, [1, 700, 15, 16, 17, 1_000, 3_000], resume_after)
    whole, parts = stored(tmp_path / "whole"), stored(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert len(whole) >= 3
    for name, expected in whole.items():
        assert expected.tobytes() == parts[name].tobytes(), name


def test_levels_built_step_by_step_equal_the_definition() -> None:
    values = wild(7, 700).reshape(700, -1)
    one_step = summarise_records(values)
    two_steps = merge_buckets(one_step)
    for number in range(len(two_steps)):
        bucket = values[number * 64 : (number + 1) * 64]
        finite = np.where(np.isfinite(bucket), bucket, np.nan)
        np.testing.assert_array_equal(two_steps[number, 0], np.nanmin(finite, axis=0))
        np.testing.assert_array_equal(two_steps[number, 1], np.nanmax(finite, axis=0))
        np.testing.assert_array_equal(two_steps[number, 3], np.isfinite(bucket).sum(axis=0))
    assert np.all(two_steps[:, 2] >= two_steps[:, 0])
    assert np.all(two_steps[:, 2] <= two_steps[:, 1])


def test_the_envelope_of_a_block_is_that_of_its_layers() -> None:
    buckets = summarise_records(wild(8, 100).reshape(100, -1))
    block = combine_series(buckets, [np.array([0, 1, 5]), np.arange(6), np.array([], np.int64)])
    some = buckets[:, :, [0, 1, 5]]
    np.testing.assert_array_equal(block["min"][:, 0], some[:, 0].min(axis=1))
    np.testing.assert_array_equal(block["max"][:, 0], some[:, 1].max(axis=1))
    np.testing.assert_array_equal(block["count"][:, 1], buckets[:, 3].sum(axis=1))
    expected = (buckets[:, 2].astype(np.float64) * buckets[:, 3]).sum(axis=1) / buckets[:, 3].sum(axis=1)
    np.testing.assert_allclose(block["mean"][:, 1], expected, rtol=1e-6)
    assert np.isnan(block["mean"][:, 2]).all()
    assert not block["count"][:, 2].any()


def test_counts_over_all_filters_of_a_network_are_exact() -> None:
    buckets = np.ones((1, 5, 3000), np.float32)
    buckets[:, 3] = 8**8 - 1  # together far beyond what float32, or int32, counts
    buckets[:, 4] = 1
    found = combine_series(buckets, [np.arange(3000)])
    assert found["count"].item() == 3000 * (8**8 - 1)
    assert found["nonfinite"].item() == 3000
    assert found["mean"].item() == 1


@pytest.mark.usefixtures("small_shards")
def test_a_closed_run_has_all_its_levels_where_shards_hold_one_wholly(tmp_path: Path) -> None:
    record(tmp_path / "run", wild(9, 16 * 8 * 36), [16 * 8 * 36])
    levels = open_run(tmp_path / "run")._commit.families["layers"].entry.levels
    assert levels == [16 * 36, 72]


@pytest.mark.parametrize("closed", [False, True])
def test_a_loss_that_is_not_a_number_is_counted_at_every_level(tmp_path: Path, closed: bool) -> None:
    writer, count = start(tmp_path / "run"), 5000
    loss = np.sin(np.arange(count))
    loss[[17, 3000]] = np.nan, np.inf
    writer.append_scalars(np.arange(count), {"loss": recorded(loss)})
    writer.commit()
    if closed:
        writer.close()
    for buckets in (1, 9, 70, 600, count):
        found = open_run(tmp_path / "run").query("loss", buckets=buckets)
        assert int(found["nonfinite"].sum()) == 2, buckets
        assert int(found["count"].sum()) == count - 2
    writer.close()
