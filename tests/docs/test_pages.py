"""What the pages say of the format is so: their Python runs on recorded runs and finds what was recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptracker.data_model.manifest import FORMAT_VERSION
from deeptracker.data_model.missing import is_missing
from deeptracker.data_model.run import open_run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

DOCS = Path(__file__).parents[2] / "docs"
LAYERS = [Layer("conv1", "Conv2d", (3, 1, 3, 3), 3), Layer("head", "Linear", (2, 3), 2)]
IMAGES = [f"image {number}" for number in range(8)]


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def record(path: Path, seed: int) -> RunWriter:
    """Record 1,500 iterations of everything there is, among them a recorded NaN and a gap."""
    rng = np.random.default_rng(seed)
    statistics = [Statistic("weight_std", "", "spread"), Statistic("relative_change_l2", "share", "change")]
    outputs = [Statistic("activation_mean")]
    writer = RunWriter.create(path, Description(classes=("cat", "dog")), LAYERS, statistics, statistics, outputs)
    iterations = np.arange(1500)
    values = rng.normal(size=(1500, 2, 2)).astype("f4")
    values[7, 0] = np.nan
    values.view(np.uint32)[9, 0] = 0x7FC00001
    writer.append_layers(iterations, values)
    writer.append_activations(iterations[::2], values[::2, :1], 2)
    writer.append_filters(iterations[::4], rng.normal(size=(375, 2, 5)).astype("f4"), 4)
    writer.append_scalars(iterations, {"loss": rng.random(1500)})
    truth = (np.arange(8) % 2).astype("i4")
    for number in range(70):
        rank = rng.integers(0, 2, 8).astype("i4")
        label = truth.copy()
        label[0] = number > 50
        writer.append_validation(20 * number, IMAGES, label, (label + rank) % 2, rng.random(8).astype("f4"), rank)
    writer.add_thumbnails(IMAGES[:2], rng.integers(0, 255, (2, 4, 4, 3), np.uint8))
    for at in (100, 200):
        writer.append_snapshot(at, [rng.normal(size=layer.shape).astype("f4") for layer in LAYERS])
    writer.commit()
    return writer


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs where the pages look for them: a closed one, and one that is being recorded."""
    record(tmp_path / "runs" / "mine", 0).close()
    record(tmp_path / "runs" / "live", 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_the_python_of_the_format_finds_what_was_recorded(runs: Path) -> None:
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks("format.md")):
        exec(compile(block, f"format.md, block {number + 1}", "exec"), names)
    run, live = open_run(runs / "mine"), open_run(runs / "live")
    spread = run.layers["weight_std"]
    np.testing.assert_array_equal(names["values"], spread.values.T)
    np.testing.assert_array_equal(names["not_recorded"], is_missing(spread.values).T)
    assert names["not_recorded"].sum() == 2
    assert names["recorded_nan"].sum() == 2
    np.testing.assert_array_equal(names["change"].values.T, run.filters["relative_change_l2"][:, :3])
    assert names["meaning"]["relative_change_l2"] == ("share", "change")
    buckets = run.query("weight_std", layers=["conv1"], buckets=180)
    full = names["level"].sizes["bucket"]
    assert full == 187
    assert buckets.attrs["records_per_bucket"] == 8
    np.testing.assert_array_equal(names["low"], buckets["min"].values[:full, 0])
    np.testing.assert_array_equal(names["high"], buckets["max"].values[:full, 0])
    np.testing.assert_array_equal(names["first_iteration"], buckets["start"].values[:full])
    error = run.query("error", family="validation", buckets=100)["mean"].values
    np.testing.assert_allclose(1 - names["accuracy"], error, rtol=1e-6)
    assert names["classes"] == run.class_names
    np.testing.assert_array_equal(names["kernels"][1], run.kernels("conv1", 1))
    np.testing.assert_array_equal(names["newest"][:, 0], live.layers["weight_std"].values[-len(names["newest"]) :])
    assert names["iterations"].tolist() == list(range(1024, 1500))


def test_the_page_names_every_group_array_and_attribute(runs: Path) -> None:
    page = (DOCS / "format.md").read_text(encoding="utf-8")
    root = json.loads((runs / "mine" / "zarr.json").read_text())
    for attribute in root["attributes"]:
        assert f"`{attribute}`" in page, f"format.md is silent on the attribute {attribute}"
    assert f"the version of this page: {FORMAT_VERSION}" in page
    assert re.search(rf"^\| {FORMAT_VERSION} \|", page, re.MULTILINE)
    for path in root["consolidated_metadata"]["metadata"]:
        for part in path.split("/"):
            name = re.sub(r"level_\d+", "level_", re.sub(r"images_\d+", "images_", part))
            assert name in page, f"format.md is silent on {path}"
