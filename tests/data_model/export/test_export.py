"""What is exported is what the run reads back, in every format; and nothing half written is ever left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from deeptracker.data_model.errors import DeepTrackerError, ExportError, QueryError
from deeptracker.data_model.export import source as sources
from deeptracker.data_model.export.exporting import Format
from deeptracker.data_model.missing import bits, is_missing
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter
from tests.data_model.histories import History, told

FAMILIES = ("scalars", "layers", "activations", "filters", "classes", "validation", "images", "snapshots")
STEPS: list[tuple[Any, ...]] = [
    ("append", 513, 1),
    ("commit",),
    ("validate", 9),
    ("join", 3),
    ("append", 129, 2),
    ("skip", 7),
    ("append", 15, 2),
]


def record(path: Path) -> History:
    """Return a recording with gaps, recorded NaN, late layers, pictures and snapshots; live, with a tail."""
    history = told(path, 1, STEPS)
    writer, rng = history.writer, np.random.default_rng(2)
    writer.append_scalars(np.arange(history.at, history.at + 5), {"train/loss": np.arange(5.0)})
    for at, layers in ((100, [0, 1]), (200, [1, 3]), (300, [3])):
        weights = [rng.normal(size=writer.layers[number].shape).astype("f4") for number in layers]
        writer.append_snapshot(at, weights, layers)
    writer.add_thumbnails(["image 1", "image 4"], rng.integers(0, 255, (2, 5, 4, 3), np.uint8))
    writer.commit()
    return history


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return record(tmp_path_factory.mktemp("export") / "run")


@pytest.fixture
def run(history: History) -> Run:
    return open_run(history.path)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every family read in many pieces."""
    monkeypatch.setattr(sources.Source, "rows", lambda self, dataset: 37)


def same_bits(one: xr.DataArray | Any, other: Any) -> None:
    """Compare to the bit: recorded NaN and missing values are different ones."""
    left, right = np.ascontiguousarray(one), np.ascontiguousarray(other)
    assert left.dtype == right.dtype
    if left.dtype.kind == "f":
        left, right = bits(left), bits(right)
    np.testing.assert_array_equal(left, right)


def opened(path: Path, group: str, kind: str) -> xr.Dataset:
    if kind == "zarr":
        return xr.open_dataset(path, engine="zarr", group=group or None)
    return xr.open_dataset(path, engine="h5netcdf", group=group or None)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_trees_hold_the_whole_run_to_the_bit(run: Run, tmp_path: Path, kind: str) -> None:
    told_bytes: list[tuple[int, int]] = []
    path = run.export(tmp_path / f"run.{kind}", format=kind, progress=lambda *now: told_bytes.append(now))
    assert told_bytes[-1][0] == told_bytes[-1][1] > 0
    assert len(told_bytes) > 20
    tree = xr.open_datatree(path, engine="h5netcdf" if kind == "netcdf" else "zarr")
    assert set(tree.children) == set(FAMILIES)
    assert json.loads(tree.attrs["description"])["classes"] == ["cat", "dog", "cow"]
    assert "payload 1" in tree.attrs["missing"]
    for family in ("scalars", "layers", "activations", "filters", "classes", "validation"):
        expected, found = getattr(run, family), opened(path, family, kind)
        for name in expected:
            same_bits(found[str(name).replace("/", ".")].values, expected[name].values)
        same_bits(found["iteration"].values, expected["iteration"].values)
    assert tree["scalars"]["train.loss"].attrs["name"] == "train/loss"
    assert tree["layers"]["layer"].values.tolist() == [layer.name for layer in run.layer_list]
    assert tree["validation"]["image"].values.tolist() == run.images["id"].values.tolist()
    pictures = tree["images"]
    for number in range(pictures.sizes["image"]):
        known = run.thumbnail(number)
        assert bool(pictures["has_thumbnail"][number]) == (known is not None)
        if known is not None:
            np.testing.assert_array_equal(pictures["thumbnail"][number], known)
    kept = tree["snapshots"]
    assert kept["iteration"].values.tolist() == [100, 200, 300]
    for layer in ("stem", "stage1.0.conv", "stage1.1.conv"):
        for number in range(3):
            if number in run.snapshots_of(layer):
                np.testing.assert_array_equal(kept[layer][number], run.kernels(layer, number))
            else:
                assert is_missing(kept[layer][number].values).all()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_tables_hold_the_whole_run(run: Run, tmp_path: Path, kind: str) -> None:
    path = run.export(tmp_path / "tables", format=kind)
    assert {one.name for one in path.iterdir()} == {"export.json", *(f"{family}.{kind}" for family in FAMILIES)}
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    entity = {"layers": "layer", "activations": "layer", "filters": "filter", "classes": "class", "validation": "image"}
    for family in ("scalars", "layers", "activations", "filters", "classes", "validation"):
        table, expected = read(path / f"{family}.{kind}"), getattr(run, family)  # type: ignore[operator]
        index = ["iteration", *([entity[family]] if family in entity else [])]
        assert table[index].duplicated().sum() == 0
        for name in expected:
            wanted, values = expected[name].values.ravel(), table[str(name)].to_numpy()
            assert len(values) == len(wanted)
            if wanted.dtype.kind == "i":
                np.testing.assert_array_equal(np.nan_to_num(values, nan=-1), wanted)
            else:
                np.testing.assert_array_equal(values.astype(wanted.dtype), wanted)
        np.testing.assert_array_equal(table["iteration"].unique(), expected["iteration"].values)
    layers = read(path / f"layers.{kind}")  # type: ignore[operator]
    one = layers[layers["layer"] == "stage10"].set_index("iteration")["second"]
    np.testing.assert_array_equal(one.to_numpy("f4"), run.layers["second"].sel(layer="stage10").values)
    weights = read(path / f"snapshots.{kind}")  # type: ignore[operator]
    for layer in ("stem", "stage1.0.conv", "stage1.1.conv"):
        for number in run.snapshots_of(layer):
            at = run.snapshot_iterations[number]
            some = weights[(weights["layer"] == layer) & (weights["iteration"] == at)].sort_values("weight")
            np.testing.assert_array_equal(some["value"].to_numpy("f4"), run.kernels(layer, number).ravel())
    assert len(weights) == sum(run.kernels(layer, int(n)).size for layer in ("stem", "stage1.0.conv", "stage1.1.conv")
                               for n in run.snapshots_of(layer))  # fmt: skip


def test_parquet_tells_what_was_not_recorded_from_a_recorded_nan(run: Run, tmp_path: Path) -> None:
    table = pq.read_table(run.export(tmp_path / "layers.parquet", "layers"))
    values = run.layers["second"].values.ravel()
    column = table["second"].combine_chunks()
    missing = is_missing(values)
    recorded_nan = np.isnan(values) & ~missing
    assert missing.any()
    assert recorded_nan.any()
    np.testing.assert_array_equal(column.is_null().to_numpy(zero_copy_only=False), missing)
    nan = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False) & ~missing
    np.testing.assert_array_equal(nan, recorded_nan)
    assert pa.types.is_dictionary(table.schema.field("layer").type)
    judged = pq.read_table(run.export(tmp_path / "validation.parquet", "validation"))
    unseen = run.validation["predicted"].values.ravel() == -1
    assert unseen.any()
    for name in ("predicted", "rank", "probability"):
        found = judged[name].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(found, unseen)


def test_csv_leaves_empty_what_was_not_recorded(run: Run, tmp_path: Path) -> None:
    path = run.export(tmp_path / "layers.csv", "layers", statistics=["second"])
    lines = path.read_text().splitlines()
    assert lines[0] == '"iteration","layer","second"'
    cells = [line.rsplit(",", 1)[1] for line in lines[1:]]
    values = run.layers["second"].values.ravel()
    assert [cell == "" for cell in cells] == is_missing(values).tolist()
    assert [cell == "nan" for cell in cells] == (np.isnan(values) & ~is_missing(values)).tolist()


def test_pictures_are_tensors_in_parquet(run: Run, tmp_path: Path) -> None:
    column = pq.read_table(run.export(tmp_path / "images.parquet", "images"))["thumbnail"].combine_chunks()
    assert isinstance(column.type, pa.FixedShapeTensorType)
    assert column.type.shape == [5, 4, 3]
    for number in range(len(column)):
        known = run.thumbnail(number)
        assert column[number].is_valid == (known is not None)
        if known is not None:
            np.testing.assert_array_equal(column[number].to_numpy(), known)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("family", "variable", "chosen"),
    [
        ("scalars", "loss", {}),
        ("layers", "second", {}),
        ("layers", "second", {"layers": ["stage10", "stem"]}),
        ("layers", "first", {"blocks": ["stage1.0", "stage1", ""]}),
        ("filters", "second", {"filters": [3, 1, 8]}),
        ("filters", "second", {"blocks": [""]}),
        ("activations", "output", {}),
        ("classes", "loss", {"classes": ["cow", "cat"]}),
        ("validation", "error", {}),
    ],
)
@pytest.mark.parametrize(("buckets", "iterations"), [(7, None), (100, (3, 640)), (5000, None)])
def test_buckets_are_those_of_the_query(
    run: Run, tmp_path: Path, family: str, variable: str, chosen: dict[str, Any], buckets: int, iterations: Any
) -> None:
    expected = run.query(variable, family=family, buckets=buckets, iterations=iterations, **chosen)
    options: dict[str, Any] = {**chosen, "buckets": buckets, "iterations": iterations, "statistics": [variable]}
    kind = "scalar" if family == "scalars" else "statistic"
    found = run.dataset(family, **options).sel({kind: variable})
    table = pd.read_parquet(run.export(tmp_path / "buckets.parquet", family, **options))
    for name in ("min", "max", "mean", "count", "nonfinite"):
        same_bits(found[name].values, expected[name].values)
        np.testing.assert_array_equal(table[name].to_numpy(expected[name].dtype), expected[name].values.ravel())
    for name in ("start", "stop", "record_count"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert found.attrs["records_per_bucket"] == expected.attrs["records_per_bucket"]
    stored = xr.open_dataset(run.export(tmp_path / "buckets.nc", family, **options), engine="h5netcdf")
    same_bits(stored["mean"].sel({kind: variable}).values, expected["mean"].values)
    stored.close()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("iterations", [None, (515, 518)])
def test_states_of_images_are_those_of_the_query(run: Run, tmp_path: Path, iterations: Any) -> None:
    cats = [int(number) for number in run.images_of("cat")]
    for rows, classes, numbers in ((2, None, None), (600, None, None), (1, ["cat"], [cats]), (9, ["cat"], cats)):
        options: dict[str, Any] = {"buckets": 4, "rows": rows, "iterations": iterations, "classes": classes}
        expected = run.image_states(numbers, iterations=iterations, rows=rows, buckets=4)
        found = run.dataset("images", **options)
        wanted = expected["count"].transpose("bucket", "row", "state")
        np.testing.assert_array_equal(found["count"], wanted)
        for name in ("start", "stop", "validations", "images", "state"):
            np.testing.assert_array_equal(found[name], expected[name])
        table = pd.read_parquet(run.export(tmp_path / "states.parquet", "images", overwrite=True, **options))
        np.testing.assert_array_equal(table["count"], found["count"].values.ravel())
        assert ("image" in table) == (rows > 2)
        if rows == 9:
            assert list(table["image"].unique()) == [str(run.images["id"].values[number]) for number in cats]
    path = run.export(tmp_path / "all.zarr", buckets=5, iterations=iterations)
    tree = xr.open_datatree(path, engine="zarr")
    assert set(tree.children) == set(FAMILIES) - {"snapshots"}
    assert int(tree["images"]["count"].sum()) > 0


def test_a_window_and_entities_are_chosen(run: Run) -> None:
    layers = run.dataset("layers", layers=["stage10", "stem"], statistics=["second"], iterations=(100, 600))
    within = run.layers.sel(layer=["stage10", "stem"]).sel(iteration=slice(100, 599))
    same_bits(layers["second"].values, within["second"].values)
    assert list(layers) == ["second"]
    filters = run.dataset("filters", layers=["stage1.1.conv"], iterations=(None, 50))
    span = run.filter_slice("stage1.1.conv")
    same_bits(filters["first"].values, run.filters["first"].isel(filter=span).values[: filters.sizes["iteration"]])
    assert filters["filter"].values.tolist() == list(range(span.start, span.stop))
    assert int(filters["iteration"][-1]) < 50
    cats = run.dataset("validation", classes=["cat"])
    same_bits(cats["probability"].values, run.validation["probability"].values[:, run.images_of("cat")])
    one = run.dataset("images", images=["image 4"])
    np.testing.assert_array_equal(one["thumbnail"][0], run.thumbnail(run.images["id"].values.tolist().index("image 4")))
    assert run.dataset("snapshots", layers=["stem"], iterations=(150, None)).sizes["snapshot"] == 2


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"family": "layer"}, "no family 'layer'; allowed are scalars"),
        ({"family": "layers", "statistics": ["nothing"]}, "have no statistic 'nothing'; they have first, second"),
        ({"family": "scalars", "statistics": ["nothing"]}, "have no scalar 'nothing'; they have loss"),
        ({"family": "layers", "layers": ["nowhere"]}, "no layer 'nowhere'; this run has stem"),
        ({"family": "classes", "classes": ["bat"]}, "no class 'bat'; this run has cat, dog"),
        ({"family": "validation", "images": ["x"]}, "no image 'x'"),
        ({"family": "scalars", "layers": ["stem"]}, "does not narrow down records of scalars; leave it out"),
        ({"family": "layers", "blocks": [""]}, "does not narrow down records of layers; it can be by layers"),
        ({"family": "snapshots", "buckets": 7}, "snapshots have no buckets"),
        ({"family": "images", "iterations": (0, 7)}, "Images have no iterations"),
        ({"family": "images", "rows": 7}, "Rows are of the states of images; ask for them with buckets"),
        ({"family": "layers", "rows": 7, "buckets": 7}, "Rows are of the states of images"),
        ({"family": "images", "buckets": 7, "statistics": ["right"]}, "come together"),
        ({"family": "filters", "filters": [99]}, "numbered 0 to"),
        ({"family": "layers", "iterations": (7, 7)}, "window [7, 7) is empty"),
        ({"family": "snapshots", "layers": ["stage10"]}, "no layer with snapshots 'stage10'; this run has stem"),
    ],
)
def test_what_there_is_not_is_said(run: Run, chosen: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=r".") as caught:
        run.dataset(**chosen)
    assert says in str(caught.value)


def test_targets_are_refused_clearly_and_left_alone(run: Run, history: History, tmp_path: Path) -> None:
    def refused(*given: Any, **chosen: Any) -> str:
        with pytest.raises(DeepTrackerError) as caught:
            run.export(*given, **chosen)
        return str(caught.value)

    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert "exists already" in refused(tmp_path / "there.csv", "scalars")
    assert "no export has made" in refused(tmp_path / "folder.zarr", "scalars", overwrite=True)
    assert "says no format: let it end in .parquet" in refused(tmp_path / "table", "scalars")
    assert "no format 'excel'; allowed are parquet" in refused(tmp_path / "table", "scalars", format="excel")
    assert "There is no folder" in refused(tmp_path / "nowhere" / "a.csv", "scalars")
    assert "is a URL" in refused("s3://bucket/a.csv", "scalars")
    assert "within the run" in refused(history.path / "a.csv", "scalars")
    assert "or around it" in refused(history.path.parent, format="zarr", overwrite=True)
    assert "Name the one" in refused(tmp_path / "new", format="csv", layers=["stem"])
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.csv").read_text() == "mine"


@pytest.mark.parametrize("kind", list(Format))
def test_overwriting_replaces_what_an_export_has_made(run: Run, tmp_path: Path, kind: Format) -> None:
    target = tmp_path / f"run{kind.suffix}"
    for family in (None, None, "scalars", "layers", None):
        run.export(target, family, format=kind, overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == [target.name]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", list(Format))
@pytest.mark.parametrize("family", [None, "layers"])
def test_what_fails_or_is_interrupted_leaves_nothing(
    run: Run, tmp_path: Path, kind: Format, family: str | None
) -> None:
    def stop_after(most: int) -> Any:
        def progress(done: int, total: int) -> None:
            nonlocal most
            most -= 1
            if most < 0:
                raise KeyboardInterrupt

        return progress

    for most in (0, 3, 12):
        with pytest.raises(KeyboardInterrupt):
            run.export(tmp_path / "target", family, format=kind, progress=stop_after(most))
        assert list(tmp_path.iterdir()) == []
    run.export(tmp_path / "target", family, format=kind)
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    with pytest.raises(KeyboardInterrupt):
        run.export(tmp_path / "target", family, format=kind, overwrite=True, progress=stop_after(5))
    assert {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()} == before


def test_without_its_library_a_format_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"needs pyarrow. Install it with: pip install 'deeptracker\[export\]'"):
        run.export(tmp_path / "a.csv", "scalars")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", list(Format))
def test_an_empty_run_makes_empty_files(tmp_path: Path, kind: Format) -> None:
    RunWriter.create(tmp_path / "run", Description(), [], [], []).close()
    run = open_run(tmp_path / "run")
    for family in FAMILIES:
        run.export(tmp_path / f"{family}{kind.suffix}", family)
    assert run.export(tmp_path / "all", format=kind).exists()


def test_a_run_in_a_bucket_that_is_being_recorded_is_exported_as_of_its_commit(tmp_path: Path, bucket: str) -> None:
    writer = RunWriter.create(f"{bucket}/run", Description(), [Layer("one", "Linear", (2, 2), 2)], [Statistic("s")], [])
    values = np.random.default_rng(0).normal(size=(3000, 1, 1)).astype("f4")
    writer.append_layers(np.arange(1500), values[:1500])
    writer.commit()
    run = open_run(f"{bucket}/run")
    writer.append_layers(np.arange(1500, 3000), values[1500:])
    for _ in range(3):  # the tail that the run knows has become a shard, and is deleted
        writer.commit()
    table = pd.read_parquet(run.export(tmp_path / "layers.parquet", "layers"))
    np.testing.assert_array_equal(table["s"].to_numpy(), values[:1500, 0, 0])
    run.refresh()
    assert len(pd.read_parquet(run.export(tmp_path / "later.parquet", "layers"))) == 3000
    writer.close()


@pytest.mark.parametrize("kind", list(Format))
def test_memory_does_not_grow_with_the_run(tmp_path: Path, kind: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [Layer(f"layer{number}", "Linear", (4, 4)) for number in range(50)]
    statistics = [Statistic(f"s{number}") for number in range(10)]
    writer = RunWriter.create(tmp_path / "run", Description(), layers, statistics, [])
    rng = np.random.default_rng(0)
    for at in range(0, 32 * 1024, 1024):
        writer.append_layers(np.arange(at, at + 1024), rng.normal(size=(1024, 10, 50)).astype("f4"))
    writer.close()
    monkeypatch.setattr(sources, "PIECE_BYTES", 2 << 20)
    monkeypatch.setattr(CHUNKS, "limit", 4 << 20)
    CHUNKS.clear()
    run = open_run(tmp_path / "run")
    run.export(tmp_path / "warm", "layers", format=kind, iterations=(0, 100))
    tracemalloc.start()
    run.export(tmp_path / "whole", "layers", format=kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    values = 32 * 1024 * 10 * 50 * 4
    assert peak < values / 3, f"{peak / 1e6:.0f} MB for {values / 1e6:.0f} MB of values"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_on_the_command_leaves_nothing(tmp_path: Path) -> None:
    writer = RunWriter.create(
        tmp_path / "run", Description(), [Layer(f"l{n}", "Linear", (4, 4)) for n in range(60)],
        [Statistic(f"s{n}") for n in range(10)], [],
    )  # fmt: skip
    for at in range(0, 20 * 1024, 1024):
        writer.append_layers(np.arange(at, at + 1024), np.full((1024, 10, 60), 0.1, "f4"))
    writer.close()
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "deeptracker.app.command", "export", str(tmp_path / "run")]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out" / "layers.csv"), "--family", "layers"], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not any((tmp_path / "out").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert any((tmp_path / "out").iterdir()), "it has not begun"
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said.decode()
    assert list((tmp_path / "out").iterdir()) == []
