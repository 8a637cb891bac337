"""What is repaired is, byte by byte, what was recorded; what cannot be is left as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deeptracker.app.command import main
from deeptracker.app.command.check import DAMAGED
from deeptracker.data_model import logs, state_layout, state_pyramid
from deeptracker.data_model.check.checking import check_run, repair_run
from deeptracker.data_model.errors import NotARunError, RunFormatError, RunLockedError
from deeptracker.data_model.root import COPY, ROOT
from deeptracker.data_model.run import open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.storage import LocalStorage
from deeptracker.data_model.writer import RunWriter
from tests.data_model.formats.recording import FOLDER, unpack
from tests.data_model.integrity.reading import names
from tests.data_model.validations import Validated

RECORDS = ("/value/", "images/", "validation/", "snapshots/")


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in names(path)}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content)


def derived(path: Path) -> list[str]:
    """Return the files that follow from others: all but the records, the tail, the images and the root."""
    return [
        name
        for name in names(path)
        if name not in (ROOT, COPY)
        and not name.startswith("tail/")
        and (name.endswith("/zarr.json") or "/iteration/" in name or not any(part in name for part in RECORDS))
    ]


@pytest.mark.parametrize("how", ["lost", "flipped", "empty"])
def test_all_that_follows_from_the_rest_comes_back_byte_by_byte(path: Path, how: str) -> None:
    before, files = contents(path), derived(path)
    assert any("/level_2/summary/c/" in name for name in files)
    for name in files:
        if how == "lost":
            (path / name).unlink()
        elif how == "empty":
            (path / name).write_bytes(b"")
        else:
            flip(path / name)
    found = {finding.file for finding in check_run(path).damage}
    assert set(files) - found <= {name for name in files if name.endswith("/zarr.json")}
    report = repair_run(path)
    assert report.damage == []
    assert {finding.file for finding in report.repaired} == found
    after = contents(path)
    # Metadata in which only white space was flipped says what it did, and stays.
    assert {name for name in before if after[name] != before[name]} <= set(files) - found
    assert set(after) == set(before)
    assert check_run(path).damage == []


def test_what_cannot_be_rebuilt_is_left_alone_and_so_is_what_follows_from_it(closed: Path) -> None:
    records = "layers/level_0/value/c/0/0/3"  # records 48 to 63: buckets 6 and 7 of level 1, in its first file
    flip(closed / records)
    for name in ("layers/level_1/summary/c/0/0/0/0", "layers/level_1/summary/c/0/0/0/4"):
        flip(closed / name)
    before = contents(closed)
    report = repair_run(closed)
    assert [finding.file for finding in report.repaired] == ["layers/level_1/summary/c/0/0/0/4"]
    left = {finding.file: finding for finding in report.damage}
    assert set(left) == {records, "layers/level_1/summary/c/0/0/0/0"}
    assert left[records].repair == ""
    assert left[records].iterations == (48, 64)
    after = contents(closed)
    assert [name for name in before if after[name] != before[name]] == ["layers/level_1/summary/c/0/0/0/4"]


def test_the_root_of_a_closed_run_comes_back_from_its_copy(closed: Path) -> None:
    before = contents(closed)
    for harm in (lambda: flip(closed / ROOT), (closed / ROOT).unlink, lambda: flip(closed / COPY)):
        harm()
        assert len(check_run(closed).damage) == 1
        report = repair_run(closed)
        assert (report.damage, len(report.repaired)) == ([], 1)
        assert contents(closed) == before
    flip(closed / ROOT)
    flip(closed / COPY)
    report = repair_run(closed)
    assert [(finding.file, finding.repair) for finding in report.damage] == [(ROOT, "")]


def test_a_run_that_goes_on_has_no_copy_of_an_old_root(closed: Path) -> None:
    writer = RunWriter.resume(closed)
    assert not (closed / COPY).exists()
    writer.abandon()
    assert check_run(closed).damage == []
    flip(closed / ROOT)
    with pytest.raises(RunFormatError, match="damaged"):
        open_run(closed)
    assert [(finding.file, finding.repair) for finding in check_run(closed).damage] == [(ROOT, "")]


def test_while_a_run_is_recorded_it_can_be_checked_and_not_repaired(path: Path) -> None:
    writer = RunWriter.resume(path)
    at = (writer.last_iteration or 0) + 1
    writer.append_scalars(np.arange(at, at + 40), {"loss": np.zeros(40)})  # shards that no commit names yet
    report = check_run(path)
    assert (report.damage, report.strays, report.state) == ([], [], "recording")
    before = contents(path)
    with pytest.raises(RunLockedError, match="is being recorded"):
        repair_run(path)
    assert contents(path) == before
    writer.abandon()
    assert len(check_run(path).strays) > 2


def test_strays_are_removed_only_when_asked_and_only_our_own(path: Path) -> None:
    before = contents(path)
    ours = [
        "tail/layers-00000001.npz",
        "layers/level_0/value/c/0/0/999",
        "zarr.json.partial",
        "layers/level_3/zarr.json",
    ]
    for name in (*ours, "notes.txt"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    with_strays = contents(path)
    assert {finding.file for finding in repair_run(path).strays} >= {*ours, "notes.txt"}
    assert contents(path) == with_strays
    report = repair_run(path, remove_strays=True)
    assert [finding.file for finding in report.strays] == ["notes.txt"]
    kept = contents(path)
    assert set(ours).isdisjoint(kept)
    assert {name: content for name, content in before.items() if name not in kept} == {
        name: content for name, content in before.items() if name.startswith("tail/") and name not in kept
    }
    assert check_run(path).damage == []


def test_a_level_of_version_1_that_does_not_follow_from_the_records_is_noticed(tmp_path: Path) -> None:
    import zarr

    path, _ = unpack(FOLDER / "version_1.tar.xz", tmp_path, "closed")
    assert check_run(path).damage == []
    value = zarr.open_array(path / "layers/level_0/value", mode="r+", config={"write_empty_chunks": True})
    value[0, 2, 100] = 1e9  # as a flip would that happens to decode: nothing but the levels can tell
    report = repair_run(path)
    assert [finding.file for finding in report.damage] == ["layers/level_1/summary/c/0/0/0/0"]
    assert (report.damage[0].kind, report.damage[0].repair, report.repaired) == ("contradicting", "", [])


def test_levels_of_version_1_are_rebuilt(tmp_path: Path) -> None:
    path, _ = unpack(FOLDER / "version_1.tar.xz", tmp_path, "closed")
    run = open_run(path)
    wanted = run.query("first", family="layers", buckets=2)
    shutil.rmtree(path / "layers/level_1/summary/c")
    CHUNKS.clear()
    with pytest.raises(RunFormatError, match="missing"):
        run.query("first", family="layers", buckets=60)
    assert len(repair_run(path).repaired) > 3
    assert open_run(path).query("first", family="layers", buckets=2).equals(wanted)
    assert check_run(path).damage == []


def test_the_command(closed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(closed)]) == 0
    assert "is whole" in capsys.readouterr().out
    level, records = "layers/level_1/summary/c/0/0/0/4", "layers/level_0/value/c/0/0/50"
    flip(closed / level)
    (closed / records).unlink()
    assert main(["check", str(closed)]) == DAMAGED
    words = capsys.readouterr().out
    assert f"{level}: damaged" in words
    assert f"{records}: missing: layers, iterations" in words
    assert "1 of them can be repaired" in words
    assert main(["check", str(closed), "--json"]) == DAMAGED
    facts = json.loads(capsys.readouterr().out)
    assert (facts["whole"], facts["format_version"], facts["state"]) == (False, 2, "closed")
    assert {(one["file"], one["kind"], one["family"], one["level"]) for one in facts["findings"]} == {
        (level, "damaged", "layers", 1),
        (records, "missing", "layers", 0),
    }
    assert main(["check", str(closed), "--repair", "--json"]) == DAMAGED
    facts = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in facts["repaired"]] == [level]
    assert [one["file"] for one in facts["findings"]] == [records]
    (closed / ROOT).write_bytes(b"{")
    (closed / COPY).unlink()
    assert main(["check", str(closed)]) == DAMAGED
    assert "zarr.json: damaged" in capsys.readouterr().out


def test_where_there_is_no_run_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--repair"]):
        assert main(["check", str(tmp_path), *options]) == 1
        assert "is not a run" in capsys.readouterr().err
    with pytest.raises(NotARunError):
        repair_run(LocalStorage(tmp_path))
    assert names(tmp_path) == []


def test_growth_is_rebuilt_as_it_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels from before layers joined, in files that are narrower than those of later."""
    from tests.data_model import test_presence

    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    for room in ("_SCALAR_ROOM", "_LAYER_ROOM", "_FILTER_ROOM"):
        monkeypatch.setattr(test_presence.families, room, 4)
    path = tmp_path / "run"
    test_presence.record(path, None)
    before = contents(path)
    for name in derived(path):
        (path / name).unlink()
    assert repair_run(path).damage == []
    assert contents(path) == before


def test_states_at_every_level_come_back_from_the_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where images have joined, and validations were cut off and made again."""
    for module in (logs, state_pyramid):
        monkeypatch.setattr(module, "records_per_shard", lambda fields: 16)
    monkeypatch.setattr(state_layout, "FEWEST_GROUPS", 2)
    monkeypatch.setattr(state_pyramid, "FEWEST_BUCKETS", 2)
    validated = Validated.create(tmp_path / "run", 3, 70)
    validated.validate(150, relabelled=0.02)
    validated.join(30)
    validated.validate(60, relabelled=0.02)
    validated.resume(180)
    validated.validate(40, missing=0.3)
    validated.writer.close()
    before = contents(validated.path)
    files = [name for name in before if name.startswith(("states/", "classes/"))]
    assert {"states/level_2/images_2/c/0/0/0", "classes/level_0/value/c/0/0/3"} <= set(files)
    for name in files:
        (validated.path / name).unlink()
    report = repair_run(validated.path)
    assert report.damage == []
    assert {finding.file for finding in report.repaired} == set(files)
    assert contents(validated.path) == before
