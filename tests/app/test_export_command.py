"""`deeptracker export`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deeptracker.app.command import main
from deeptracker.data_model.run import open_run

MakeRun = Callable[..., Path]


def test_it_writes_what_is_chosen(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "some.parquet"
    chosen = ["--family", "layers", "--statistic", "weight_mean", "--layer", "head", "--iterations", "100:200"]
    assert main(["export", str(run), str(out), *chosen]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    table = pd.read_parquet(out)
    expected = open_run(run).layers["weight_mean"].sel(layer="head", iteration=slice(100, 199))
    assert list(table) == ["iteration", "layer", "weight_mean"]
    np.testing.assert_array_equal(table["weight_mean"].to_numpy(), expected.values)
    np.testing.assert_array_equal(table["iteration"].to_numpy(), np.arange(100, 200))


def test_it_writes_summaries_and_the_whole_run(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert main(["export", str(run), str(tmp_path / "loss.csv"), "--family", "scalars", "--buckets", "10"]) == 0
    table = pd.read_csv(tmp_path / "loss.csv")
    expected = open_run(run).query("loss", buckets=10)
    np.testing.assert_array_equal(table[table["scalar"] == "loss"]["max"], expected["max"])
    assert (
        main(
            [
                "export",
                str(run),
                str(tmp_path / "blocks.csv"),
                "--family",
                "layers",
                "--block",
                "stage1",
                "--buckets",
                "10",
            ]
        )
        == 0
    )
    blocks = open_run(run).query("weight_mean", buckets=10, blocks=["stage1"])
    table = pd.read_csv(tmp_path / "blocks.csv")
    found = table[table["statistic"] == "weight_mean"]["max"].to_numpy("f4")
    np.testing.assert_array_equal(found, blocks["max"].values.ravel())
    assert main(["export", str(run), str(tmp_path / "run.zarr")]) == 0
    tree = xr.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert {"scalars", "layers", "filters", "validation", "images", "classes"} == set(tree.children)


def test_it_refuses_in_one_line(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "there.csv"
    out.write_text("mine")
    assert main(["export", str(run), str(out)]) == 1
    assert (
        capsys.readouterr().err
        == f"deeptracker: {out} exists already. Give another name, or overwrite it (--overwrite).\n"
    )
    assert main(["export", str(run), str(out), "--family", "scalars", "--overwrite"]) == 0
    assert len(pd.read_csv(out)) == 400
    assert main(["export", str(run), str(tmp_path / "new.csv"), "--family", "layers", "--layer", "nowhere"]) == 1
    assert "There is no layer 'nowhere'; this run has stem.conv" in capsys.readouterr().err
    for wrong in (["--buckets", "0"], ["--iterations", "1-2"], ["--family", "weights"], ["--format", "excel"]):
        with pytest.raises(SystemExit) as caught:
            main(["export", str(run), str(tmp_path / "new.csv"), *wrong])
        assert caught.value.code == 2
    assert not (tmp_path / "new.csv").exists()
