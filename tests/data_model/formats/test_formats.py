"""Every version of the format that ever landed is still read, whole and exactly; and a run of it can go on."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from deeptracker.data_model import manifest
from deeptracker.data_model.missing import bits
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.writer import RunWriter
from tests.data_model.formats.recording import CLASSES, FOLDER, LAYERS, RUNS, Expected, unpack
from tests.data_model.test_query import brute_force

ARCHIVES = sorted(FOLDER.glob("version_*.tar.xz"))
EVERY = [(archive, kind) for archive in ARCHIVES for kind in RUNS]


@pytest.fixture(params=EVERY, ids=[f"{archive.name.partition('.')[0]}-{kind}" for archive, kind in EVERY])
def unpacked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Expected]:
    archive, kind = request.param
    return unpack(archive, tmp_path, kind)


def assert_families(run: Run, expected: Expected, until: int | None = None) -> None:
    """Raw values to the bit: what was NaN, what was not recorded, and what is infinite."""
    for family, dataset in (("layers", run.layers), ("filters", run.filters), ("activations", run.activations)):
        wanted = expected[family][:until]
        np.testing.assert_array_equal(dataset.iteration.values[:until], expected[f"{family} iteration"][:until])
        for number, variable in enumerate(dataset.data_vars.values()):
            np.testing.assert_array_equal(bits(variable.values[:until]), bits(np.array(wanted[:, number])), family)
    np.testing.assert_array_equal(run.scalars.iteration.values[:until], expected["scalars iteration"][:until])
    for name in ("loss", "learning rate", "accuracy"):
        np.testing.assert_array_equal(bits(run.scalars[name].values[:until]), bits(expected[name][:until]), name)


def assert_buckets(run: Run, expected: Expected) -> None:
    """Every level of the index, against plain numpy over the values that went in."""
    for variable, family, values in (
        ("second", "layers", expected["layers"][:, 1]),
        ("first", "filters", expected["filters"][:, 0]),
        ("loss", "scalars", expected["loss"][:, None]),
        ("accuracy", "scalars", expected["accuracy"][:, None]),
    ):
        levels = set()
        for buckets in (1, 12, 60):
            found = run.query(variable, family=family, buckets=buckets)
            levels.add(found.attrs["level"])
            for number in range(found.sizes["bucket"]):
                span = int(found.start[number]), int(found.stop[number])
                wanted = brute_force(values, expected[f"{family} iteration"], *span)
                for aggregate in ("min", "max", "count", "nonfinite"):
                    got = np.atleast_1d(found[aggregate].values[number])
                    np.testing.assert_array_equal(got, wanted[aggregate], f"{variable} {aggregate} {span}")
                got = np.atleast_1d(found["mean"].values[number])
                np.testing.assert_allclose(got, wanted["mean"], rtol=1e-4, atol=1e-5)
        assert len(levels) > 1


def assert_validations(run: Run, expected: Expected) -> None:
    """Results, classes and pictures of every image, by its name."""
    names = list(run.images.id.values)
    order = [names.index(name) for name in expected["images"]]
    assert len(names) == len(order)
    results = run.validation_results()
    np.testing.assert_array_equal(results.iteration, expected["validation iteration"])
    for column in ("predicted", "rank", "probability"):
        np.testing.assert_array_equal(getattr(results, column)[:, order], expected[column].astype(np.float32), column)
    newest = [series[series >= 0][-1] for series in expected["class"].T]
    np.testing.assert_array_equal(results.image_class[order], newest)
    assert list(run.relabelled.image) == ["image 4"]
    assert (run.relabelled.before.item(), run.relabelled.after.item()) == (CLASSES[1], CLASSES[2])
    for number, row in enumerate(order):
        picture = run.thumbnail(row)
        if expected["pictured"][number]:
            np.testing.assert_array_equal(picture, expected["thumbnails"][number])
        else:
            assert picture is None


def assert_snapshots(run: Run, expected: Expected) -> None:
    """The weights of every layer that was kept, and only of those."""
    held = {key.rpartition(" of layer ")[::2] for key in expected if key.startswith("snapshot ")}
    for number, at in enumerate(run.snapshot_iterations):
        snapshot = f"snapshot {number} at {at}"
        for layer, described in enumerate(LAYERS):
            assert (number in run.snapshots_of(described.name)) == ((snapshot, str(layer)) in held)
            if (snapshot, str(layer)) in held:
                wanted = expected[f"{snapshot} of layer {layer}"]
                np.testing.assert_array_equal(run.kernels(described.name, number), wanted)
    assert len(run.snapshot_iterations) == len({snapshot for snapshot, _ in held})


def test_it_is_read_exactly(unpacked: tuple[Path, Expected]) -> None:
    path, expected = unpacked
    run = open_run(path)
    assert run.state == path.name
    assert (run.description.model, run.class_names, len(run.layer_list)) == ("Net", list(CLASSES), len(LAYERS) + 1)
    assert [statistic.unit for statistic in run.layer_statistics] == ["", "nats"]
    assert any("cut once" in remark for remark in run.remarks)
    assert_families(run, expected)
    assert_buckets(run, expected)
    assert_validations(run, expected)
    assert_snapshots(run, expected)


def test_stock_xarray_reads_it(unpacked: tuple[Path, Expected]) -> None:
    path, expected = unpacked
    # Only by the group: of runs that version 1 wrote with both thumbnails and relabelled images, xarray refuses the
    # tree, as two of their dimensions have the same name.
    records = xr.open_dataset(path, group="layers/level_0", engine="zarr")
    stop = records.sizes["iteration"]
    assert stop == len(expected["layers"]) if path.name == "closed" else stop > len(expected["layers"]) - 16
    np.testing.assert_array_equal(bits(records.value.values.transpose(2, 0, 1)), bits(expected["layers"][:stop]))


def test_it_can_go_on(unpacked: tuple[Path, Expected]) -> None:
    path, expected = unpacked
    known = len(expected["layers"])
    writer = RunWriter.resume(path)
    assert writer.last_iteration is not None
    more = np.arange(writer.last_iteration + 1, writer.last_iteration + 201)
    added = np.repeat(more[:, None, None], 2, axis=1).repeat(len(writer.layers), axis=2).astype(np.float32)
    for part in (slice(0, 90), slice(90, 200)):
        writer.append_layers(more[part], added[part])
        writer.append_scalars(more[part], {"loss": more[part] / 2})
        writer.commit()
        assert_families(open_run(path), expected, 60)
    writer.close()
    run = open_run(path)
    values = np.stack([run.layers[name].values for name in ("first", "second")], axis=1)
    np.testing.assert_array_equal(bits(values[:known].copy()), bits(expected["layers"]))
    np.testing.assert_array_equal(values[known:], added)
    expected |= {"layers": values, "layers iteration": np.append(expected["layers iteration"], more)}
    expected["loss"] = np.append(expected["loss"], more / 2)
    expected["accuracy"] = np.append(expected["accuracy"], np.full(200, np.nan))
    expected["scalars iteration"] = np.append(expected["scalars iteration"], more)
    assert_buckets(run, expected)
    assert_validations(run, expected)
    assert_snapshots(run, expected)


def test_there_is_an_archive_of_every_version_that_says_so() -> None:
    archives = {int(archive.name.partition(".")[0].partition("_")[2]): archive for archive in ARCHIVES}
    assert sorted(archives) == list(range(1, manifest.FORMAT_VERSION + 1))
    for version, archive in archives.items():
        with tarfile.open(archive) as content:
            for kind in RUNS:
                root = content.extractfile(f"{kind}/zarr.json")
                assert root is not None
                assert json.load(root)["attributes"]["format_version"] == version
