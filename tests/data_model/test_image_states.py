"""Counts of states of images against brute force over the very same blocks, live, resumed, cut, closed and old."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.data_model import logs, state_layout, state_pyramid
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.image_states import group_counts, merge_groups, next_states, sum_codes, sum_counts
from deeptracker.data_model.root import ROOT, encode_root, read_root
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.state_query import choose_rows, gather
from deeptracker.data_model.storage import open_storage
from tests.data_model.validations import Validated, check_blocks, check_classes, order_of, perform, steps


@pytest.fixture(autouse=True, scope="module")
def small_levels() -> Iterator[None]:
    """Shards of 16 records and levels from two groups on, so that few images and validations fill several levels."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (logs, state_pyramid):
            patch.setattr(module, "records_per_shard", lambda fields: 16)
        patch.setattr(state_layout, "FEWEST_GROUPS", 2)
        patch.setattr(state_pyramid, "FEWEST_BUCKETS", 2)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    yield path / "run"
    shutil.rmtree(path)


def check(run: Run, validated: Validated, random: np.random.Generator) -> None:
    """Ask for blocks of every kind and compare each with brute force."""
    order = order_of(run)
    codes, images, validations = validated.codes(order), len(order), len(validated.results)
    for rows, buckets in ((1, 1), (5, 9), (images, validations), (3, 40), (40, 3)):
        window = np.sort(random.choice(validated.iterations[-1] + 2, 2, replace=False))
        first, stop = np.sort(random.choice(images + 1, 2, replace=False)).tolist()
        for given_images, given_window in ((None, None), ((first, stop), (int(window[0]), int(window[1])))):
            found = run.image_states(given_images, iterations=given_window, rows=rows, buckets=buckets)
            starts = found.first_image.values
            members = [np.arange(start, start + size) for start, size in zip(starts, found.images.values, strict=True)]
            check_blocks(found, codes, members)
            low, high = given_images or (0, images)
            assert starts[0] <= low
            assert members[-1][-1] + 1 >= high
            assert min(rows, high - low) <= len(members) <= 2 * rows + 1
            if given_window is None:
                assert min(buckets, validations) <= found.sizes["bucket"] <= 2 * buckets + 1
                np.testing.assert_array_equal(found.start, np.array(validated.iterations)[found.first_validation])
    numbers = random.permutation(images)
    found = run.image_states(numbers, rows=7, buckets=11)
    merged = max(1, images // 7)
    check_blocks(found, codes, [numbers[start : start + merged] for start in range(0, images, merged)])
    groups = [np.arange(images // 3), numbers[:5], np.empty(0, int), np.arange(images // 2, images), numbers[2:3]]
    check_blocks(run.image_states(groups, buckets=6), codes, groups)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.lists(steps, max_size=6), st.integers(0, 2**31))
def test_every_block_is_exact_whatever_happened_before(images: int, plan: list[tuple[str, int]], seed: int) -> None:
    path = Path(tempfile.mkdtemp())
    try:
        validated = Validated.create(path / "run", seed, images)
        validated.validate(1)
        validated.writer.commit()
        attached = open_run(path / "run")
        for step in plan:
            perform(validated, *step)
        validated.writer.commit()
        attached.refresh()
        check(attached, validated, validated.random)
        validated.writer.close()
        check(open_run(path / "run"), validated, validated.random)
    finally:
        shutil.rmtree(path)


def test_all_levels_are_reached_and_exact(folder: Path) -> None:
    validated = Validated.create(folder, 3, 70)
    validated.validate(600)
    validated.join(30)
    validated.validate(530)
    validated.writer.commit()
    run = open_run(folder)
    entry = run._commit.manifest.logs["states"]
    assert entry.levels == [128, 16]
    assert run._images.states().image_levels == 3
    check(run, validated, validated.random)
    validated.writer.close()
    assert run.refresh()
    assert run._commit.manifest.logs["states"].levels == [141, 17, 2]
    check(run, validated, validated.random)
    found = run.image_states(rows=2, buckets=2)
    assert (found.attrs["level"], found.attrs["image_level"]) == (3, 2)


def test_stock_xarray_reads_the_codes(folder: Path) -> None:
    validated = Validated.create(folder, 5, 40)
    validated.validate(21, missing=0.3)
    validated.writer.close()
    tree = xr.open_datatree(folder, engine="zarr")
    codes = tree["states/level_0/images_0"].values.T
    seen = codes >> 2 == 1
    expected = validated.codes(order_of(open_run(folder)))
    np.testing.assert_array_equal(seen, expected > 0)
    np.testing.assert_array_equal((codes & 3)[seen], expected[seen] - 1)
    assert "5: right" in tree["states/level_0/images_0"].attrs["long_name"]
    counts = tree["states/level_0/images_1"].sel(counted="learned").values.T
    np.testing.assert_array_equal(counts, np.add.reduceat(expected == 4, [0, 16, 32], axis=1))


def without_derived(path: Path) -> None:
    """Make a run what it would be if it had been recorded before states and series of classes were stored."""
    storage = open_storage(path)
    manifest, nodes, _ = read_root(storage)
    manifest.classes = 0
    for name in ("states", "classes"):
        del manifest.logs[name]
        for node in [node for node in nodes if node == name or node.startswith(f"{name}/")]:
            del nodes[node]
            manifest.widths.pop(node, None)
        shutil.rmtree(path / name)
    storage.write(ROOT, encode_root(manifest, nodes))


@pytest.mark.parametrize("keep", [None, 90])
def test_runs_without_stored_states_are_read_and_catch_up_when_they_go_on(folder: Path, keep: int | None) -> None:
    validated = Validated.create(folder, 7, 40)
    validated.validate(100, relabelled=0.02)
    validated.join(9)
    validated.validate(61, relabelled=0.02)
    validated.writer.close()
    without_derived(folder)
    run = open_run(folder)
    check(run, validated, validated.random)
    check_classes(run, validated)
    assert run.remarks == []
    validated.resume(keep)
    validated.validate(3)
    validated.writer.commit()
    assert run.refresh()
    assert run._commit.states() is not None
    check(run, validated, validated.random)
    check_classes(run, validated)
    validated.writer.close()
    assert run.refresh()
    check(run, validated, validated.random)
    check_classes(run, validated)


def test_what_cannot_be_asked_for_is_said(folder: Path) -> None:
    validated = Validated.create(folder, 1, 5)
    validated.validate(2)
    validated.writer.close()
    run = open_run(folder)
    for images, message in (
        ((3, 9), "no range"),
        ((4, 2), "no range"),
        ([0, 5], "numbered 0 to 4"),
        ([-1], "numbered"),
    ):
        with pytest.raises(QueryError, match=message):
            run.image_states(images)
    with pytest.raises(QueryError, match="twice"):
        run.image_states([[0, 1, 0]])
    with pytest.raises(QueryError, match="list of numbers"):
        run.image_states(["a"])  # type: ignore[list-item]
    with pytest.raises(QueryError, match="1 or more"):
        run.image_states(rows=0)
    with pytest.raises(QueryError, match="empty"):
        run.image_states(iterations=(5, 5))
    assert run.image_states([]).sizes["row"] == 0
    assert run.image_states((2, 2)).sizes["row"] == 0
    assert run.image_states(iterations=(10_000, 10_001)).sizes["bucket"] == 0


def test_a_run_without_validations_has_no_states(folder: Path) -> None:
    Validated.create(folder, 1, 5).writer.close()
    run = open_run(folder)
    assert run.image_states().sizes == {"row": 0, "bucket": 0, "state": 5}
    assert run.classes.sizes == {"iteration": 0, "class": 0}


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_kernels_agree_with_their_slow_twins(validations: int, images: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    seen, right = random.random((validations, images)) < 0.8, random.random((validations, images)) < 0.5
    codes = next_states(np.zeros(images, np.uint8), seen, right)
    for image in range(images):
        last = None
        for validation in range(validations):
            code = int(codes[validation, image])
            if seen[validation, image]:
                now = bool(right[validation, image])
                assert code == 4 + now + 2 * (last is not None and last != now)
                last = now
            else:
                assert code == (0 if last is None else 2 + last)
    counted = np.stack([codes >> 2, codes >> 2 & codes & 1, codes == 7, codes == 6], axis=1).astype(int)
    groups, buckets = np.arange(0, images, 16), np.arange(0, validations, 8)
    by_group = np.add.reduceat(counted, groups, axis=2)
    np.testing.assert_array_equal(group_counts(codes, 16), by_group)
    np.testing.assert_array_equal(
        merge_groups(group_counts(codes, 16), 4, 64), np.add.reduceat(by_group, np.arange(0, len(groups), 4), axis=2)
    )
    np.testing.assert_array_equal(sum_codes(codes), np.add.reduceat(counted, buckets))
    np.testing.assert_array_equal(sum_counts(group_counts(codes, 16), 128), np.add.reduceat(by_group, buckets))


@given(st.integers(1, 5000), st.integers(1, 700), st.data())
def test_rows_read_no_more_than_they_need(images: int, rows: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, images - 1))
    stop = data.draw(st.integers(first + 1, images))
    levels = state_layout.image_levels(images)
    pick, bounds = choose_rows(first, stop, rows, levels, images)
    assert pick.stop - pick.first <= max(16 * rows, stop - first) + 2 * -(-(stop - first) // rows)
    assert bounds[0] <= first < bounds[1]
    assert bounds[-2] < stop <= bounds[-1]
    assert len(bounds) - 1 >= min(rows, stop - first)


@given(st.lists(st.lists(st.integers(0, 299), unique=True, max_size=200), min_size=1, max_size=4))
def test_gathered_rows_hold_each_image_once(groups: list[list[int]]) -> None:
    row = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    image = np.array([one for group in groups for one in group], np.int64)
    found: list[set[int]] = [set() for _ in groups]
    for pick in gather(image, row, 4, 300):
        span = state_layout.span_of(pick.image_level)
        for entity, owner in zip(range(pick.first, pick.stop), pick.row_of, strict=True):
            if owner >= 0:
                members = set(range(entity * span, min(300, (entity + 1) * span)))
                assert not members & found[owner]
                found[owner] |= members
    assert found == [set(group) for group in groups]
