"""An index built anew is the one that recording wrote, file by file and bit by bit, whoever builds it."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeptracker.app.command import main
from deeptracker.data_model import logs
from deeptracker.data_model import workers as sharing
from deeptracker.data_model.errors import QueryError, RunFormatError, RunLockedError, WorkersError
from deeptracker.data_model.indexing import building, segments
from deeptracker.data_model.indexing.building import build_index
from deeptracker.data_model.root import read_root
from deeptracker.data_model.run import open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.storage import open_storage
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.workers import crew
from deeptracker.data_model.writer import RunWriter
from tests.data_model.histories import STEPS, VARIABLE, told

HISTORY: list[tuple[Any, ...]] = [
    ("append", 513, 1),
    ("validate", 260),
    ("join", 3),
    ("append", 511, 2),
    ("resume", True),
    ("append", 511, 1),
    ("cut", 0.9, False),
    ("append", 513, 7),
]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed run with a history, in small shards: levels up to the second, several segments."""
    path = tmp_path_factory.mktemp("index") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "records_per_shard", lambda fields: 16)
        told(path, 3, HISTORY).writer.close()
    return path


def files(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def levels(path: Path) -> list[Path]:
    return [one for one in path.rglob("level_[1-9]*/**/*") if one.is_file() and "states" not in one.parts]


def without_index(recorded: Path, path: Path) -> Path:
    """Copy a run without any file of its levels."""
    shutil.copytree(recorded, path)
    lost = levels(path)
    assert len(lost) > 20
    for one in lost:
        one.unlink()
    return path


@pytest.mark.parametrize(("workers", "threads"), [(1, 4), (2, 4), (2, 1)])
def test_it_is_built_from_nothing_but_the_records(
    recorded: Path, tmp_path: Path, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "MOST_THREADS", threads)
    monkeypatch.setattr(building, "WORTH_STARTING", 0)
    path = without_index(recorded, tmp_path / "run")
    seen: list[tuple[int, int]] = []
    built = build_index(path, workers=workers, progress=lambda *now: seen.append(now))
    assert files(path) == files(recorded)
    assert built.families == ["activations", "classes", "filters", "layers", "scalars"]
    data = [one for one in levels(path) if one.name != "zarr.json"]
    assert (built.files, built.written_bytes) == (len(data), sum(one.stat().st_size for one in data))
    assert built.record_bytes == sum(record_bytes(recorded, family) for family in built.families)
    assert seen[-1][0] == seen[-1][1] > 0
    assert len(seen) == built.segments > 5
    assert built.cpu_seconds > 0


def record_bytes(path: Path, family: str) -> int:
    value = read_root(open_storage(path)).nodes[f"{family}/level_0/value"]
    return int(np.prod(value["shape"])) * np.dtype(value["data_type"]).itemsize


def test_a_cluster_builds_the_same(recorded: Path, tmp_path: Path, scheduler: str) -> None:
    path = without_index(recorded, tmp_path / "run")
    assert scheduler.startswith("tcp://")
    assert main(["index", str(path), "--scheduler", scheduler, "--json"]) == 0
    assert files(path) == files(recorded)
    damaged = without_index(recorded, tmp_path / "damaged")
    next((damaged / "layers/level_0/value/c").rglob("[0-9]*/[0-9]*/[0-9]*")).write_bytes(b"")
    with pytest.raises(RunFormatError, match="layers/level_0/value"):
        build_index(damaged, scheduler=scheduler)


def test_a_scheduler_that_is_not_there_is_named(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_PATIENCE", 1)
    before = files(recorded)
    with pytest.raises(
        WorkersError, match=r"No scheduler answers at 'tcp://127.0.0.1:1'.*Start one with `dask scheduler`"
    ):
        build_index(recorded, scheduler="tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(WorkersError, match=r"pip install 'deeptracker\[cluster\]'"):
        build_index(recorded, scheduler="tcp://127.0.0.1:1")
    assert files(recorded) == before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), steps=st.lists(STEPS, max_size=7), raw=st.sampled_from([1, 2, 3]), closed=st.booleans())
def test_whatever_the_history(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    steps: list[tuple[Any, ...]],
    raw: int,
    closed: bool,
) -> None:
    path = tmp_path_factory.mktemp("history") / "run"
    writer = told(path, seed, [*steps, ("append", 513, 1)]).writer
    if closed:
        writer.close()
    else:
        writer.commit()
        writer.abandon()
    monkeypatch.setattr(segments, "RAW_LEVELS", raw)
    before, answers = files(path), answered(path)
    CHUNKS.clear()
    built = build_index(path)
    after = files(path)
    if closed:
        assert after == before
    # Files of a run that was cut back reach beyond what its root names, until they are replaced.
    assert after.keys() == before.keys()
    for expected, found in zip(answers, answered(path), strict=True):
        xr.testing.assert_identical(found, expected)
    assert built.files == sum(len(one) for stage in plan(path) for one in stage)


def answered(path: Path) -> list[xr.Dataset]:
    run = open_run(path)
    return [run.query(name, family=family, buckets=n) for family, name in VARIABLE.items() for n in (2, 30, 300)]


def plan(path: Path) -> list[list[list[str]]]:
    manifest, nodes, _ = read_root(open_storage(path))
    return [
        [[f"{file}/c/{'/'.join(map(str, place))}" for file, place in one.files] for one in stage]
        for stage in segments.stages(manifest, nodes)
    ]


def test_the_segments_hold_every_file_once_and_build_on_earlier_stages_only(recorded: Path) -> None:
    manifest, nodes, _ = read_root(open_storage(recorded))
    for one in next(segments.stages(manifest, nodes)):
        span = manifest.logs[one.family].records_per_shard * 64
        assert one.records[0] % span == 0
        assert one.records[1] <= one.records[0] + span
    every = [name for stage in plan(recorded) for one in stage for name in one]
    assert len(every) == len(set(every))
    assert set(every) == {str(one.relative_to(recorded)) for one in levels(recorded) if one.name != "zarr.json"}


def test_one_family_alone(recorded: Path, tmp_path: Path) -> None:
    path = without_index(recorded, tmp_path / "run")
    build_index(path, ["layers"])
    assert {one.relative_to(path).parts[0] for one in levels(path)} == {"layers"}
    run, whole = open_run(path), open_run(recorded)
    for buckets in (3, 70):
        np.testing.assert_array_equal(
            run.query("second", buckets=buckets)["mean"], whole.query("second", buckets=buckets)["mean"]
        )
    with pytest.raises(QueryError, match="'states' has no index of records; these families have: scalars"):
        build_index(path, ["states"])


def test_what_is_recorded_or_damaged_is_left_alone(recorded: Path, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "live", Description(), [Layer("one", "Linear", (2, 2))], [Statistic("s")], [])
    writer.append_layers(np.arange(2000), np.ones((2000, 1, 1), "f4"))
    writer.commit()
    before = files(tmp_path / "live")
    with pytest.raises(RunLockedError, match="is being recorded by process"):
        build_index(tmp_path / "live")
    assert files(tmp_path / "live") == before
    writer.close()
    path = without_index(recorded, tmp_path / "damaged")
    shard = next((path / "layers/level_0/value/c").rglob("[0-9]*/[0-9]*/[0-9]*"))
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(RunFormatError, match="cannot be read for records"):
        build_index(path)
    assert not (path / "writer.lock").exists()
    RunWriter.resume(tmp_path / "live").close()  # the lock was given back


def test_the_command_says_what_it_did(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = without_index(recorded, tmp_path / "run")
    assert main(["index", str(path), "--workers", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"] > 20
    assert main(["index", str(path), "--workers", "1", "--family", "layers"]) == 0
    assert "of layers, in " in capsys.readouterr().out
    assert files(path) == files(recorded)
    assert main(["index", str(tmp_path / "nowhere")]) == 1
    assert "is nothing" in capsys.readouterr().err
    RunWriter.create(tmp_path / "empty", Description(), [], [], []).close()
    assert main(["index", str(tmp_path / "empty"), "--workers", "1"]) == 0
    assert "has no index to build" in capsys.readouterr().out
    for wrong in (["--workers", "0"], ["--workers", "2", "--scheduler", "tcp://x"], ["--family", "states"]):
        with pytest.raises(SystemExit) as caught:
            main(["index", str(path), *wrong])
        assert caught.value.code == 2


def test_an_index_in_a_bucket_is_built_there(bucket: str, recorded: Path) -> None:
    storage = open_storage(f"{bucket}/run")
    whole = files(recorded)
    for name, content in whole.items():
        if "level_1" not in name and "level_2" not in name:
            storage.write(name, content)
    build_index(f"{bucket}/run")
    found = {name: storage.read(name) for name in storage.names() if "states" not in name}
    assert found == {name: content for name, content in whole.items() if "states" not in name}


def negated(number: int) -> int:
    if number == 5:
        raise ValueError("five is too many")
    return -number


@pytest.mark.parametrize(("workers", "threads"), [(1, False), (2, False), (2, True)])
def test_work_is_shared_and_its_first_error_ends_it(workers: int, threads: bool) -> None:
    with crew(workers=workers, threads=threads) as each:
        assert sorted(each(negated, [1, 2, 3, 4])) == [-4, -3, -2, -1]
        with pytest.raises(ValueError, match="five is too many"):
            list(each(negated, [1, 5, 2]))
    with pytest.raises(WorkersError, match="0 workers were asked for"), crew(workers=0):
        pass


@pytest.mark.parametrize("threads", [1, 4])
def test_no_worker_is_left(recorded: Path, tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MOST_THREADS", threads)
    monkeypatch.setattr(building, "WORTH_STARTING", 0)
    before = set(multiprocessing.active_children())
    path = without_index(recorded, tmp_path / "run")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(path, workers=2, progress=stop)
    assert set(multiprocessing.active_children()) <= before
    build_index(path)
    assert files(path) == files(recorded)
