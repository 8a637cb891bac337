"""Layers that join a running recording: exact at every level, for readers of every commit, through crash and resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model import logs
from deeptracker.data_model.errors import QueryError, RecordingError
from deeptracker.data_model.missing import is_missing
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.vocabulary import Layer
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import LAYERS, start

TOTAL = 16 * 8**2 + 277


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 16 records, so that few records fill several levels."""
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)


def late(number: int, filters: int = 2) -> Layer:
    return Layer(f"late.{number}", "Conv2d", (filters, 3, 1, 1), filters)


def values(seed: int, entities: int) -> NDArray[np.float32]:
    """Records (TOTAL, statistic, entity) with spikes and infinities."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(TOTAL, 2, entities)).astype(np.float32)
    made[rng.random(made.shape) < 0.003] = np.inf
    return made


class Growing:
    """Appends records while layers join, and knows what a reader must find."""

    def __init__(self, writer: RunWriter) -> None:
        self.writer, self.at = writer, 0
        self.layers, self.filters = values(1, 80), values(2, 200)

    def append(self, count: int) -> None:
        stop = self.at + count
        width, rows = len(self.writer.layers), sum(layer.filters for layer in self.writer.layers)
        self.layers[self.at : stop, :, width:] = np.nan
        self.filters[self.at : stop, :, rows:] = np.nan
        self.writer.append_layers(np.arange(self.at, stop), self.layers[self.at : stop, :, :width])
        self.writer.append_filters(np.arange(self.at, stop), self.filters[self.at : stop, :, :rows])
        self.at = stop

    def join(self, number: int, filters: int = 2) -> None:
        self.writer.add_layers([late(number, filters)])

    def check(self, run: Run) -> None:
        """Every bucket of every level equals brute force, for what had joined when the run's commit was made."""
        stop, width = run.iterations[1], len(run.layer_list)
        for family, known in (("layers", self.layers[:stop, 1, :width]), ("filters", self.filters[:stop, 1])):
            known = known[:, : len(run.filter_layer)] if family == "filters" else known
            finite = np.isfinite(known)
            for buckets in (2, 30, 400):
                found = run.query("second", family=family, buckets=buckets)
                starts = found.start.values
                assert found.stop.values[-1] == stop
                low = np.minimum.reduceat(np.where(finite, known, np.inf), starts)
                high = np.maximum.reduceat(np.where(finite, known, -np.inf), starts)
                count = np.add.reduceat(finite.astype(int), starts)
                nonfinite = np.add.reduceat(np.isinf(known).astype(int), starts)
                np.testing.assert_array_equal(found["count"].values, count)
                np.testing.assert_array_equal(found["nonfinite"].values, nonfinite)
                np.testing.assert_array_equal(found["min"].values, np.where(count, low, np.nan))
                np.testing.assert_array_equal(found["max"].values, np.where(count, high, np.nan))
        np.testing.assert_array_equal(run.layers["first"].values, self.layers[:stop, 0, :width])
        assert is_missing(run.layers["first"].values[np.isnan(self.layers[:stop, 0, :width])]).all()


@pytest.mark.parametrize("resumed", [False, True])
def test_layers_join_and_every_level_is_exact_live_resumed_and_closed(tmp_path: Path, resumed: bool) -> None:
    growing = Growing(start(tmp_path / "run"))
    growing.append(150)
    growing.writer.commit()
    run, attached = open_run(tmp_path / "run"), []
    for number, (count, filters) in enumerate([(3, 2), (13, 70), (700, 0), (40, 3), (0, 1)]):
        growing.join(number, filters)
        growing.append(count)
        growing.writer.commit()
        assert run.refresh()
        growing.check(run)
        attached.append(open_run(tmp_path / "run"))
        if resumed and number in (1, 2):
            growing.writer.close()
            growing.writer = RunWriter.resume(tmp_path / "run")
    growing.append(TOTAL - growing.at)
    growing.writer.close()
    assert run.refresh()
    growing.check(run)
    assert len(run._commit.families["layers"].entry.levels) >= 2
    for earlier in attached:
        growing.check(earlier)
    assert run.filter_slice("late.1") == slice(8, 78)
    assert list(run.filters.layer_name.values[76:80]) == ["late.1", "late.1", "late.3", "late.3"]
    tree = xr.open_datatree(tmp_path / "run", engine="zarr")
    stock = tree["layers/level_0"].to_dataset()
    assert list(stock.layer.values) == [layer.name for layer in (*LAYERS, *(late(number) for number in range(5)))]
    np.testing.assert_array_equal(stock.value.sel(statistic="second").values.T, growing.layers[:, 1, :8])
    np.testing.assert_array_equal(tree["filters/layer_of_filter"].values, run.filter_layer)
    np.testing.assert_array_equal(tree["filters/channel"].values, run.filters.channel.values)
    filters = tree["filters/level_0/value"].sel(statistic="first")
    np.testing.assert_array_equal(filters.values.T, growing.filters[:, 0, :82])


def test_more_layers_than_a_chunk_has_room_for_go_into_further_shards(tmp_path: Path) -> None:
    growing = Growing(start(tmp_path / "run"))
    growing.append(20)
    growing.writer.commit()
    growing.writer.add_layers([late(number) for number in range(70)])
    growing.append(500)
    growing.writer.close()
    run = open_run(tmp_path / "run")
    array = run._commit.array("layers/level_0/value")
    assert array.chunks[1] == 8
    assert array.shape[1] == 73
    growing.check(run)


def test_a_reader_of_a_closed_run_is_not_robbed_by_growth_after_a_resume(tmp_path: Path) -> None:
    growing = Growing(start(tmp_path / "run"))
    growing.append(1100)
    growing.writer.append_scalars(np.arange(1100), {"loss": np.arange(1100.0)})
    growing.writer.close()
    reader, fresh = open_run(tmp_path / "run"), open_run(tmp_path / "run")
    growing.check(reader)
    growing.writer = RunWriter.resume(tmp_path / "run")
    growing.join(0)
    growing.append(3)
    growing.writer.append_scalars(np.arange(1100, 1103), {"other": np.zeros(3)})
    growing.writer.commit()
    for run in (reader, fresh):
        growing.check(run)
        np.testing.assert_array_equal(run.scalars.loss.values, np.arange(1100.0))
    growing.writer.close()


def test_growth_that_was_not_committed_leaves_no_trace(tmp_path: Path) -> None:
    growing = Growing(start(tmp_path / "run"))
    growing.append(100)
    growing.writer.commit()
    growing.join(0, filters=90)
    growing.append(100)
    (tmp_path / "run" / "writer.lock").unlink()
    run = open_run(tmp_path / "run")
    assert run.iterations == (0, 100)
    assert run.layer_list == LAYERS
    growing = Growing(RunWriter.resume(tmp_path / "run"))
    growing.layers[:100, :, 3:], growing.filters[:100, :, 6:] = np.nan, np.nan
    growing.at = 100
    growing.join(5, filters=3)
    growing.append(900)
    growing.writer.close()
    assert run.refresh()
    growing.check(run)
    assert run.layer_list == [*LAYERS, late(5, 3)]
    names = xr.open_datatree(tmp_path / "run", engine="zarr")["layers/level_0"].layer.values
    assert names[-1] == "late.5"


def test_layers_may_join_before_anything_was_recorded(tmp_path: Path) -> None:
    growing = Growing(start(tmp_path / "run"))
    growing.join(0, filters=4)
    growing.append(40)
    growing.writer.close()
    run = open_run(tmp_path / "run")
    growing.check(run)
    assert run.notes[0]["joined"] == ["late.0"]


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    for twice in ([LAYERS[0]], [late(1), late(1)]):
        with pytest.raises(RecordingError, match="already"):
            writer.add_layers(twice)
    assert writer.layers == LAYERS
    writer.close()


def weights(layers: list[Layer], factor: float) -> list[NDArray[np.float32]]:
    return [np.full(layer.shape, factor * (number + 1), np.float32) for number, layer in enumerate(layers)]


def test_snapshots_hold_the_layers_they_were_given(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    writer.append_snapshot(1, [weights(LAYERS, 1)[2]], [2])
    writer.append_snapshot(2, [weights(LAYERS, 2)[2]], [2])
    writer.commit()
    reader = open_run(tmp_path / "run")
    writer.add_layers([late(0)])
    layers = [*LAYERS, late(0)]
    writer.append_snapshot(3, weights(layers, 3))
    writer.commit()
    writer.close()
    writer = RunWriter.resume(tmp_path / "run")
    writer.append_snapshot(4, [weights(layers, 4)[3], weights(layers, 4)[0]], [3, 0])
    writer.close()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.snapshot_iterations, [1, 2, 3, 4])
    held = [run.snapshots_of(layer.name).tolist() for layer in layers]
    assert held == [[2, 3], [2], [0, 1, 2], [2, 3]]
    for number, layer in enumerate(layers):
        for snapshot in held[number]:
            expected = np.full(layer.shape, (snapshot + 1) * (number + 1))
            np.testing.assert_array_equal(run.kernels(layer.name, snapshot), expected)
    np.testing.assert_array_equal(reader.kernels("stage.2", 1), run.kernels("stage.2", 1))
    with pytest.raises(QueryError, match=r"Snapshot 0 .* 'late.0': 2 of the 4 do"):
        run.kernels("late.0", 0)
    with pytest.raises(QueryError, match="none does"):
        reader.kernels("stage.0", 0)


def test_a_cut_forgets_the_snapshots_after_it_and_which_layers_they_held(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    for iteration, numbers in ((1, [0]), (5, [1]), (9, [2])):
        writer.append_snapshot(iteration, [weights(LAYERS, iteration)[number] for number in numbers], numbers)
    writer.close()
    writer = RunWriter.resume(tmp_path / "run", before=5)
    writer.append_snapshot(7, [weights(LAYERS, 7)[0]], [0])
    writer.close()
    run = open_run(tmp_path / "run")
    assert [run.snapshots_of(layer.name).tolist() for layer in LAYERS] == [[0, 2], [1], []]
    np.testing.assert_array_equal(run.kernels("stage.0", 2), np.full(LAYERS[0].shape, 7))
    np.testing.assert_array_equal(run.kernels("stage.1", 1), np.full(LAYERS[1].shape, 10))


def test_a_snapshot_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    writer = start(tmp_path / "run")
    with pytest.raises(RecordingError, match="were given"):
        writer.append_snapshot(0, weights(LAYERS, 1)[:2])
    with pytest.raises(RecordingError, match="twice"):
        writer.append_snapshot(0, weights(LAYERS, 1)[:2], [0, 0])
    writer.append_snapshot(0, weights(LAYERS, 1))
    writer.close()
    assert open_run(tmp_path / "run").snapshots_of("stage.1").tolist() == [0]


WRITER = """
import sys, numpy as np
from pathlib import Path
from deeptracker.data_model import logs
from deeptracker.data_model.writer import RunWriter
from deeptracker.data_model.vocabulary import Description, Layer, Statistic

logs.records_per_shard = lambda fields: 16
path, rng = Path(sys.argv[1]), np.random.default_rng(int(sys.argv[2]))
if (path / "zarr.json").exists():
    writer = RunWriter.resume(path)
else:
    writer = RunWriter.create(path, Description(), [Layer("0", "Conv2d", (1,), 1)], [Statistic("value")], [])
last = writer.last_iteration
at = 0 if last is None else last + 1
while True:
    if rng.random() < 0.4:
        # A layer's name is the iteration it joins at; its value counts from there.
        writer.add_layers([Layer(str(at), "Conv2d", (1,), 1)])
    count = int(rng.integers(1, 60))
    iterations = np.arange(at, at + count)
    joined = np.array([int(layer.name) for layer in writer.layers])
    writer.append_layers(iterations, (iterations[:, None, None] - joined).astype(np.float32))
    at += count
    if rng.random() < 0.5:
        writer.commit()
        print(at, flush=True)
"""


def check_formula(path: Path) -> int:
    run = open_run(path)
    stop, joined = run.iterations[1], np.array([int(layer.name) for layer in run.layer_list])
    expected = np.arange(stop)[:, None] - joined
    known = np.where(expected >= 0, expected, np.nan)
    np.testing.assert_array_equal(run.layers["value"].values, known)
    for buckets in (1, 40):
        found = run.query("value", buckets=buckets)
        first = np.clip(found.start.values[:, None], joined, found.stop.values[:, None])
        counts = found.stop.values[:, None] - first
        np.testing.assert_array_equal(found["count"].values, counts)
        np.testing.assert_array_equal(found["min"].values, np.where(counts > 0, first - joined, np.nan))
    return stop


def test_kill_while_layers_join(tmp_path: Path) -> None:
    path, rng, survived, kill = tmp_path / "run", np.random.default_rng(3), 0, 0
    while kill < 4 or len(open_run(path).layer_list) <= 8:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(kill)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        deadline = time.monotonic() + rng.uniform(0.05, 0.6)
        while time.monotonic() < deadline:
            assert check_formula(path) >= survived
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        survived = check_formula(path)
        assert survived >= acknowledged
        kill += 1
        assert kill < 40, "layers hardly ever join"
