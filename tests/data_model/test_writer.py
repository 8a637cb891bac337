"""Writing: resuming, growing, two writers, stock xarray; and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from deeptracker.data_model import logs
from deeptracker.data_model.errors import NotARunError, RecordingError, RunExistsError, RunLockedError
from deeptracker.data_model.families import family_value
from deeptracker.data_model.missing import is_missing, recorded
from deeptracker.data_model.run import open_run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import LAYERS, STATISTICS, assert_exact, start, wild


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 16 records, so that few records fill several levels."""
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)


def validate(writer: RunWriter, iteration: int, ids: list[str], classes: list[int], predicted: list[int]) -> None:
    count = len(ids)
    rank = (np.array(classes) != np.array(predicted)).astype(np.int32)
    probability = np.linspace(0.1, 0.9, count, dtype=np.float32)
    writer.append_validation(
        iteration, ids, np.array(classes, np.int32), np.array(predicted, np.int32), probability, rank
    )


def test_stock_xarray_opens_a_closed_run_whole(tmp_path: Path) -> None:
    values = wild(0, 1500)
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(1500), values)
    writer.append_scalars(np.arange(1500), {"loss": np.linspace(2, 1, 1500)})
    writer.close()
    tree = xr.open_datatree(tmp_path / "run", engine="zarr")
    records = tree["layers/level_0"].to_dataset()
    assert list(records.layer.values) == [layer.name for layer in LAYERS]
    np.testing.assert_array_equal(records.value.sel(statistic="second").values.T, values[:, 1])
    np.testing.assert_array_equal(tree["scalars/level_0/value"].sel(scalar="loss").values[0], np.linspace(2, 1, 1500))


def test_few_records_take_few_bytes_once_the_run_is_closed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(2, 5, 4800)).astype(np.float32)
    layers = [Layer(f"layer{number}", "conv", (48, 8, 3, 3), 48) for number in range(100)]
    statistics = [Statistic(name) for name in ("change", "b", "c", "d", "e")]
    with closing(RunWriter.create(tmp_path / "run", Description(), layers, statistics, statistics)) as writer:
        writer.append_filters(np.array([0, 16]), noise)
    files = [file for file in (tmp_path / "run/filters/level_0/value/c").rglob("*") if file.is_file()]
    # Each series has two numbers, and room for 128.
    assert sum(file.stat().st_size for file in files) < 1.5 * noise.nbytes
    np.testing.assert_array_equal(open_run(tmp_path / "run").filters["change"].values, noise[:, 0])


def test_stock_xarray_opens_a_live_run_up_to_its_last_shard(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(1500), wild(0, 1500))
    writer.commit()
    assert xr.open_datatree(tmp_path / "run", engine="zarr")["layers/level_0/value"].sizes["iteration"] == 1024
    assert open_run(tmp_path / "run").layers.sizes["iteration"] == 1500
    writer.close()


@pytest.mark.parametrize("records", [5, 16, 40])
def test_a_statistic_that_was_nan_all_the_time_is_not_one_that_was_not_recorded(
    tmp_path: Path, small_shards: None, records: int
) -> None:
    values = wild(0, records)
    values[:, 1] = np.nan
    values[:, 1, 0] = recorded(values[:, 1, 0])
    start(tmp_path / "run").close()
    for first, last in ((0, records // 2), (records // 2, records)):
        writer = RunWriter.resume(tmp_path / "run")
        writer.append_layers(np.arange(first, last), values[first:last])
        writer.append_scalars(np.arange(first, last), {"loss": recorded(np.full(last - first, np.nan))})
        writer.close()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(is_missing(run.layers["second"].values), [[False, True, True]] * records)
    assert run.query("second", layers=[0], buckets=1)["nonfinite"].sum() == records
    assert not is_missing(run.scalars["loss"].values).any()


def test_nothing_is_visible_before_it_is_committed(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.iterations == (0, 0)
    assert run.query("first").sizes["bucket"] == 0
    writer.append_layers(np.arange(5000), wild(0, 5000))
    assert not run.refresh()
    writer.commit()
    assert run.refresh()
    assert run.iterations == (0, 5000)
    assert run.state == "recording"
    writer.close()
    assert run.refresh()
    assert run.state == "closed"


def test_scalars_that_come_later_are_missing_before(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.append_scalars(np.arange(1200), {"loss": np.ones(1200)})
    writer.commit()
    writer.append_scalars(np.arange(1200, 2000), {"loss": np.ones(800), "accuracy": np.full(800, 0.5)})
    writer.commit()
    run = open_run(tmp_path / "run")
    assert run.scalar_names == ["loss", "accuracy"]
    for buckets in (3, 100, 3000):
        found = run.query("accuracy", buckets=buckets)
        assert int(found["count"].sum()) == 800
        assert int(found["nonfinite"].sum()) == 0
    writer.close()
    assert run.refresh()
    assert int(run.query("accuracy", buckets=3)["count"].sum()) == 800


def test_a_skipped_iteration_is_not_a_record_of_scalars(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.append_scalars(np.arange(6), {"loss": np.array([1, np.nan, 3, np.nan, np.nan, 6.0])})
    writer.close()
    np.testing.assert_array_equal(open_run(tmp_path / "run").scalars.iteration, [0, 2, 5])


def test_validations_come_sorted_by_class_and_take_new_images(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", Description(classes=("cat", "dog")), LAYERS, STATISTICS, STATISTICS)
    validate(writer, 10, ["b", "a", "c"], [1, 0, 1], [1, 1, 0])
    validate(writer, 20, ["c", "d", "a"], [1, 0, 0], [1, 0, 0])
    writer.add_thumbnails(["d", "a"], np.stack([np.full((4, 4, 3), 7, np.uint8), np.full((4, 4, 3), 9, np.uint8)]))
    writer.commit()
    run = open_run(tmp_path / "run")
    results = run.validation_results()
    assert list(results.image) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(results.predicted, [[1, 1, 0, -1], [0, -1, 1, 0]])
    np.testing.assert_array_equal(results.right, [[False, True, False, False], [True, False, True, True]])
    np.testing.assert_allclose(run.query("error", family="validation")["mean"], [2 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(run.query("error", classes=["dog"])["mean"][:, 0], [0.5, 0])
    assert list(run.images_of("cat")) == [0, 3]
    assert run.thumbnail(1) is None
    assert run.thumbnail(3) is not None
    assert run.thumbnail(0)[0, 0, 0] == 9  # type: ignore[index]
    validate(writer, 30, ["a", "b", "c", "d"], [0, 1, 1, 0], [0, 1, 1, 0])
    writer.close()
    assert run.refresh()
    assert float(run.query("error", family="validation")["mean"][-1]) == 0
    assert run.validation.predicted.shape == (3, 4)


def test_images_that_get_another_class_keep_what_was_right_before(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", Description(classes=("cat", "dog")), LAYERS, STATISTICS, STATISTICS)
    validate(writer, 10, ["a", "b", "c"], [0, 0, 1], [0, 1, 1])
    validate(writer, 20, ["a", "b", "c"], [0, 1, 0], [0, 1, 1])
    validate(writer, 30, ["b", "c"], [1, 1], [1, 1])
    writer.commit()
    run = open_run(tmp_path / "run")
    results = run.validation_results()
    np.testing.assert_array_equal(results.correct, [[1, 0, 1], [1, 1, 0], [-1, 1, 1]])
    np.testing.assert_array_equal(results.image_class, [0, 1, 1])
    np.testing.assert_allclose(run.query("error", family="validation")["mean"], [1 / 3, 1 / 3, 0], rtol=1e-6)
    changes = [["b", 20, "cat", "dog"], ["c", 20, "dog", "cat"], ["c", 30, "cat", "dog"]]
    assert run.relabelled.to_numpy().tolist() == changes
    writer.close()
    RunWriter.resume(tmp_path / "run", before=20).close()
    assert run.refresh()
    assert run.relabelled.to_numpy().tolist() == changes[:2]
    np.testing.assert_array_equal(run.validation_results().image_class, [0, 1, 0])
    RunWriter.resume(tmp_path / "run", before=10).close()
    assert run.refresh()
    assert run.relabelled.empty
    np.testing.assert_array_equal(run.validation_results().image_class, [0, 0, 1])


def test_what_is_odd_about_a_validation_is_returned(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    codes = np.zeros(3, np.int32)
    chance = np.zeros(3, np.float32)

    def odd(iteration: int, ids: str, *classes: int) -> dict[str, int]:
        count = len(ids)
        truth = np.array(classes, np.int32)
        return writer.append_validation(iteration, list(ids), truth, codes[:count], chance[:count], codes[:count])

    assert odd(1, "abc", 0, 0, 1) == {"missing": 0, "new": 0, "relabelled": 0}
    assert odd(2, "bd", 1, 0) == {"missing": 2, "new": 1, "relabelled": 1}
    writer.close()
    writer = RunWriter.resume(tmp_path / "run")
    assert odd(3, "abc", 0, 1, 1) == {"missing": 1, "new": 0, "relabelled": 0}
    writer.close()


def test_many_notes_of_one_kind_do_not_push_out_the_others(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.note("gap", first=1, stop=3)
    for number in range(1500):
        writer.note("waited for the disk", seconds=number)
    writer.close()
    notes = open_run(tmp_path / "run").notes
    assert len(notes) == 1000
    assert notes[0]["key"] == "gap"
    assert notes[-1]["seconds"] == 1499


def test_snapshots_keep_every_layers_weights(tmp_path: Path) -> None:
    weights = [
        np.random.default_rng(number).normal(size=layer.shape).astype(np.float32) for number, layer in enumerate(LAYERS)
    ]
    writer = start(tmp_path / "run")
    writer.append_snapshot(5, weights)
    writer.append_snapshot(9, [2 * weight for weight in weights])
    writer.close()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.snapshot_iterations, [5, 9])
    np.testing.assert_array_equal(run.kernels("stage.2", 1), 2 * weights[2])


def test_resuming_continues_after_what_was_committed(tmp_path: Path) -> None:
    values = wild(2, 4000)
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(1300), values[:1300])
    validate(writer, 100, ["a"], [0], [0])
    writer.close()
    writer = RunWriter.resume(tmp_path / "run")
    assert writer.last_iteration == 1299
    writer.append_layers(np.arange(1300, 4000), values[1300:])
    validate(writer, 200, ["a"], [0], [1])
    writer.commit()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers["first"].values, values[:, 0])
    assert len(run.validation_results().iteration) == 2
    assert [note["key"] for note in run.notes] == ["resumed"]
    writer.close()


def test_a_run_that_shuffles_bytes_where_new_ones_shuffle_bits_goes_on_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = wild(0, 2600)
    with monkeypatch.context() as earlier:
        earlier.setattr(logs, "family_value", lambda *sizes: replace(family_value(*sizes), bitwise=False))
        with closing(start(tmp_path / "run")) as writer:
            writer.append_layers(np.arange(1500), values[:1500])
    with closing(RunWriter.resume(tmp_path / "run")) as writer:
        writer.append_layers(np.arange(1500, 2600), values[1500:])
    found = xr.open_datatree(tmp_path / "run", engine="zarr")["layers/level_0/value"]
    np.testing.assert_array_equal(found.values.transpose(2, 0, 1), values)
    assert_exact(open_run(tmp_path / "run"), values, np.arange(2600), (0, 2600), 40)
    with closing(start(tmp_path / "new")) as writer:
        writer.append_layers(np.arange(1), values[:1])
    earlier_codecs, codecs = (
        zarr.open_array(tmp_path / name / "layers/level_0/value").compressors for name in ("run", "new")
    )
    assert "bitshuffle" not in str(earlier_codecs)
    assert "bitshuffle" in str(codecs)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("before", [0, 1, 700, 1024, 1025, 2999, 5000])
def test_restarting_earlier_cuts_what_came_after(tmp_path: Path, before: int, closed: bool) -> None:
    old, new = wild(2, 3000), wild(4, 3000)
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(3000), old)
    for iteration in (600, 700, 800):
        validate(writer, iteration, ["a"], [0], [0])
    writer.commit()
    reader = open_run(tmp_path / "run")
    if closed:
        writer.close()
    else:
        (tmp_path / "run" / "writer.lock").unlink()
    writer = RunWriter.resume(tmp_path / "run", before=before)
    first = min(before, 3000)
    assert writer.last_iteration in (first - 1, None if not first else first - 1, min(before, 800))
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers["first"].values, old[:first, 0])
    assert len(run.validation_results().iteration) == sum(at <= before for at in (600, 700, 800))
    assert any(note["key"] == "cut" for note in run.notes) == (before < 3000)
    writer.append_layers(np.arange(first, 3000), new[first:])
    writer.close()
    both = np.concatenate([old[:first], new[first:]])
    for one in (reader, run):
        assert one.refresh()
        np.testing.assert_array_equal(one.layers["first"].values, both[:, 0])
        assert_exact(one, both, np.arange(3000), (0, 3000), 40)
    tree = xr.open_datatree(tmp_path / "run", engine="zarr")
    np.testing.assert_array_equal(tree["layers/level_0/value"].values[1].T, both[:, 1])


def test_a_live_reader_follows_a_run_that_is_closed_and_resumed(tmp_path: Path) -> None:
    """Tail pieces of the resumed run must not be taken for those of the same place before."""
    values, at, run = wild(3, 100), 0, None
    writer = start(tmp_path / "run")
    for _ in range(4):
        for _ in range(3):
            writer.append_layers(np.arange(at, at + 7), values[at : at + 7])
            at += 7
            writer.commit()
            run = run or open_run(tmp_path / "run")
            run.refresh()
            np.testing.assert_array_equal(run.layers["first"].values, values[:at, 0])
        writer.close()
        writer = RunWriter.resume(tmp_path / "run")
    writer.close()


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    with pytest.raises(RunLockedError, match=str(os.getpid())):
        RunWriter.resume(tmp_path / "run")
    writer.close()
    RunWriter.resume(tmp_path / "run").close()


def test_the_lock_of_a_dead_writer_is_taken_over(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.close()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    import socket

    lock = {"host": socket.gethostname(), "pid": int(dead.stdout), "started": "1"}
    (tmp_path / "run" / "writer.lock").write_text(json.dumps(lock))
    RunWriter.resume(tmp_path / "run").close()


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    start(tmp_path / "run").close()
    with pytest.raises(RunExistsError, match="resume=True"):
        start(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunExistsError, match=r"thesis\.tex"):
        start(tmp_path / "other")
    assert os.listdir(tmp_path / "other") == ["thesis.tex"]
    with pytest.raises(NotARunError):
        RunWriter.resume(tmp_path / "absent")


def test_records_must_come_in_order_and_in_shape(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(10), wild(0, 10))
    with pytest.raises(RecordingError, match="Iteration 9 follows iteration 9"):
        writer.append_layers(np.arange(9, 12), wild(0, 3))
    with pytest.raises(RecordingError, match="shape"):
        writer.append_layers(np.arange(10, 12), wild(0, 2)[:, :1])
    with pytest.raises(RecordingError, match="twice"):
        validate(writer, 1, ["a", "a"], [0, 0], [0, 0])
    writer.close()
    assert open_run(tmp_path / "run").iterations == (0, 10)


def test_a_validation_after_the_last_iteration_is_none_itself(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    assert open_run(tmp_path / "run").steps == 0
    writer.append_scalars(np.arange(3, 10), {"loss": np.ones(7)})
    validate(writer, 10, ["one"], [0], [0])
    writer.close()
    run = open_run(tmp_path / "run")
    assert (run.iterations, run.steps) == ((3, 11), 7)
