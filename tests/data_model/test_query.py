"""The query against brute force: any data, any window, any number of buckets, live or closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.missing import is_missing, recorded
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.storage import Place
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

LAYERS = [Layer(f"stage.{number}", "Conv2d", (2, 3, 3, 3), 2) for number in range(3)]
STATISTICS = [Statistic("first"), Statistic("second")]


def start(path: Place) -> RunWriter:
    return RunWriter.create(path, Description(), LAYERS, STATISTICS, STATISTICS)


def wild(seed: int, records: int) -> NDArray[np.float32]:
    """Values with one-record spikes, recorded NaN, Inf and gaps where nothing was recorded."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(records, len(STATISTICS), len(LAYERS))).astype(np.float32)
    kind = rng.random(values.shape)
    values[kind < 0.002] = 1e6
    values[(kind > 0.99) & (kind < 0.993)] = np.inf
    values[(kind > 0.993) & (kind < 0.996)] = -np.inf
    marked = np.asarray(recorded(np.where((kind > 0.996) & (kind < 0.998), np.nan, values).astype(np.float32)))
    marked[kind > 0.998] = np.nan
    return marked


def brute_force(values: NDArray[Any], iterations: NDArray[np.int64], start: int, stop: int) -> dict[str, Any]:
    """Reduce the records of [start, stop) by plain numpy, series by series."""
    inside = values[(iterations >= start) & (iterations < stop)]
    out: dict[str, list[float]] = {"min": [], "max": [], "mean": [], "count": [], "nonfinite": []}
    for series in inside.T:
        finite = series[np.isfinite(series)].astype(np.float64)
        out["min"].append(finite.min() if len(finite) else np.nan)
        out["max"].append(finite.max() if len(finite) else np.nan)
        out["mean"].append(finite.mean() if len(finite) else np.nan)
        out["count"].append(len(finite))
        out["nonfinite"].append(int((~np.isfinite(series) & ~is_missing(np.array(series))).sum()))
    return out


def assert_exact(
    run: Run, values: NDArray[Any], iterations: NDArray[np.int64], window: tuple[int, int], buckets: int
) -> None:
    found = run.query("second", family="layers", iterations=window, buckets=buckets)
    covered = (
        (iterations >= found.start.values[0]) & (iterations < found.stop.values[-1]) if found.sizes["bucket"] else []
    )
    inside = np.append(iterations[1:], run.iterations[1]) > window[0]
    wanted = int((inside & (iterations < window[1])).sum())
    assert found.sizes["bucket"] >= min(buckets, wanted)
    assert found.sizes["bucket"] <= max(8 * buckets + 8, 1)
    assert int(found.record_count.sum()) == int(np.sum(covered))
    scale = np.nanmax(np.abs(np.where(np.isfinite(values), values, 0)), initial=0)
    for number in range(found.sizes["bucket"]):
        expected = brute_force(values[:, 1], iterations, int(found.start[number]), int(found.stop[number]))
        for aggregate in ("min", "max", "count", "nonfinite"):
            np.testing.assert_array_equal(found[aggregate].values[number], expected[aggregate], err_msg=aggregate)
        np.testing.assert_allclose(found["mean"].values[number], expected["mean"], rtol=1e-5, atol=1e-6 * scale)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    records=st.sampled_from([1, 2, 7, 8, 9, 63, 64, 65, 511, 513, 1023, 1024, 1025, 3000]),
    interval=st.integers(1, 20),
    closed=st.booleans(),
    flush=st.integers(100, 2000),
    buckets=st.integers(1, 300),
    data=st.data(),
)
def test_equal_to_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    records: int,
    interval: int,
    closed: bool,
    flush: int,
    buckets: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("runs") / "run"
    values, iterations = wild(seed, records), 5 + interval * np.arange(records)
    writer = start(path)
    for first in range(0, records, flush):
        writer.append_layers(iterations[first : first + flush], values[first : first + flush], interval)
        writer.commit()
    if closed:
        writer.close()
    run = open_run(path)
    low = data.draw(st.integers(0, 5 + interval * records - 1))
    high = data.draw(st.integers(low + 1, 5 + interval * records + 50))
    for window in ((5, 5 + interval * records), (low, high)):
        if window[1] > 5:
            assert_exact(run, values, iterations, window, buckets)
    writer.close()


@pytest.mark.parametrize("buckets", [1, 10, 150, 2000])
def test_a_spike_of_one_iteration_is_seen_at_every_zoom(tmp_path: Path, buckets: int) -> None:
    values = np.zeros((30_000, 2, 3), np.float32)
    values[12_345, 1, 2] = 7
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(30_000), values)
    writer.close()
    found = open_run(tmp_path / "run").query("second", buckets=buckets, layers=["stage.2"])
    hit = found.isel(bucket=(found.start.values <= 12_345) & (found.stop.values > 12_345))
    assert hit["max"].item() == 7
    assert found["max"].sum().item() == 7


def test_records_of_changing_interval_and_skipped_steps(tmp_path: Path) -> None:
    iterations = np.concatenate([np.arange(100), 100 + 4 * np.arange(100), [520, 523, 600, 601]])
    values = wild(3, len(iterations))
    writer = start(tmp_path / "run")
    writer.append_layers(iterations[:100], values[:100], 1)
    writer.append_layers(iterations[100:200], values[100:200], 4)
    writer.append_layers(iterations[200:], values[200:], 1)
    writer.close()
    run = open_run(tmp_path / "run")
    assert run.iterations == (0, 602)
    np.testing.assert_array_equal(run.layers.iteration, iterations)
    for window in ((0, 602), (90, 130), (505, 590), (601, 602)):
        for buckets in (1, 5, 40, 1000):
            assert_exact(run, values, iterations, window, buckets)


def test_lazy_datasets_hold_what_was_appended(tmp_path: Path) -> None:
    values = wild(1, 2500)
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(2500), values)
    writer.append_filters(np.arange(0, 2500, 5), np.repeat(values[::5], 2, axis=2), 5)
    writer.commit()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run.layers["first"].values, values[:, 0])
    np.testing.assert_array_equal(
        run.layers["second"].isel(iteration=[3, 1030, 2499], layer=1), values[[3, 1030, 2499], 1, 1]
    )
    np.testing.assert_array_equal(run.layers["second"].isel(iteration=slice(2490, 1000, -7)), values[2490:1000:-7, 1])
    np.testing.assert_array_equal(run.layers["first"].isel(iteration=77, layer=2), values[77, 0, 2])
    assert run.filters["first"].sizes == {"iteration": 500, "filter": 6}
    assert list(run.filters.layer_name.values) == ["stage.0"] * 2 + ["stage.1"] * 2 + ["stage.2"] * 2
    assert run.filter_slice("stage.1") == slice(2, 4)
    writer.close()


def test_statistics_of_activations_are_found_among_those_of_layers(tmp_path: Path) -> None:
    values = wild(2, 700)
    outputs = [Statistic("output_mean", "", "Mean", "", "activation")]
    writer = RunWriter.create(tmp_path / "run", Description(), LAYERS, STATISTICS, STATISTICS, outputs)
    writer.append_layers(np.arange(700), values)
    writer.append_activations(np.arange(0, 700, 10), values[::10, :1], 10)
    writer.commit()
    run = open_run(tmp_path / "run")
    assert [one.name for one in run.activation_statistics] == ["output_mean"]
    np.testing.assert_array_equal(run.activations["output_mean"].values, values[::10, 0])
    by_layer = run.query("output_mean", layers=["stage.1"], iterations=(0, 700), buckets=70)
    by_family = run.query("output_mean", family="activations", iterations=(0, 700), buckets=70)
    assert by_layer.sizes == {"bucket": 70, "layer": 1}
    assert by_layer.identical(by_family.isel(layer=[1]))
    np.testing.assert_array_equal(by_layer.start.values, np.arange(0, 700, 10))
    writer.close()


def test_groups_of_ones_own_mix_blocks_and_numbers(tmp_path: Path) -> None:
    values = wild(4, 300)
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(300), values)
    writer.append_filters(np.arange(300), np.repeat(values, 2, axis=2))
    writer.close()
    run = open_run(tmp_path / "run")
    mine = {"mixed": ["stage.0", 2, "stage.0"], "nothing": []}
    found = run.query("second", blocks=mine, buckets=5)
    assert found["min"].dims == ("bucket", "block")
    assert found.members.values.tolist() == [2, 0]
    layers = run.query("second", layers=[0, 2], buckets=5)
    np.testing.assert_array_equal(found["max"].sel(block="mixed"), layers["max"].max("layer"))
    assert not found["count"].sel(block="nothing").any()
    filters = run.query("second", family="filters", blocks={"mixed": ["stage.0", 5]}, buckets=5)
    assert filters.members.values.tolist() == [3]
    np.testing.assert_array_equal(filters["count"].values[:, 0], 2 * layers["count"][:, 0] + layers["count"][:, 1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"variable": "nothing"}, "nothing"),
        ({"variable": "first", "layers": ["stage.9"]}, "stage.9"),
        ({"variable": "first", "layers": [5]}, "0 to 2"),
        ({"variable": "first", "filters": [99]}, "0 to 5"),
        ({"variable": "first", "iterations": (5, 5)}, "[5, 5)"),
        ({"variable": "first", "buckets": 0}, "0 buckets"),
        ({"variable": "first", "family": "planets"}, "planets"),
        ({"variable": "first", "layers": [0], "filters": [0]}, "one family"),
        ({"variable": "error", "classes": ["cat"]}, "cat"),
        ({"variable": "first", "blocks": ["stag"]}, "did you mean 'stage'"),
        ({"variable": "first", "blocks": ["stage"], "layers": [0]}, "both"),
        ({"variable": "first", "blocks": "stage"}, "['stage']"),
        ({"variable": "first", "blocks": {"mine": [0, 3]}}, "0 to 2"),
        ({"variable": "first", "family": "filters", "blocks": {"mine": [-1]}}, "0 to 5"),
        ({"variable": "error", "family": "classes", "blocks": ["stage"]}, "no tree"),
        ({"variable": "error", "family": "validation", "blocks": [""]}, "leave `blocks` out"),
    ],
)
def test_a_wrong_query_says_what_is_allowed(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    writer = start(tmp_path / "run")
    writer.append_layers(np.arange(10), wild(0, 10))
    writer.close()
    with pytest.raises(QueryError) as caught:
        open_run(tmp_path / "run").query(**arguments)
    assert said in str(caught.value)
