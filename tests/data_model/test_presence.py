"""Which files must be there: found out by recording, and by looking what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model import families, logs
from deeptracker.data_model.errors import MissingFileError
from deeptracker.data_model.presence import Presence, file_name, parse_file_name
from deeptracker.data_model.root import read_root
from deeptracker.data_model.run import open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.storage import open_storage
from deeptracker.data_model.vocabulary import Description, Layer
from deeptracker.data_model.writer import RunWriter
from tests.data_model.test_query import STATISTICS


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 16 records and 4 layers or filters or scalars."""
    monkeypatch.setattr(logs, "records_per_shard", lambda fields: 16)
    for room in ("_SCALAR_ROOM", "_LAYER_ROOM", "_FILTER_ROOM"):
        monkeypatch.setattr(families, room, 4)


def layer(number: int) -> Layer:
    return Layer(f"layer {number}", "Conv2d", (2, 1), 2)


def append(writer: RunWriter, start: int, stop: int) -> None:
    at = np.arange(start, stop)
    writer.append_layers(at, np.broadcast_to(at[:, None, None], (len(at), 1, len(writer.layers))).astype(np.float32))
    few = at[at % 16 == 0]
    values = np.broadcast_to(few[:, None, None], (len(few), 1, 2 * len(writer.layers)))
    writer.append_filters(few, values.astype(np.float32), 16)


def record(path: Path, cut: int | None) -> None:
    writer = RunWriter.create(path, Description(), [layer(0), layer(1)], STATISTICS[:1], STATISTICS[:1])
    append(writer, 0, 300)
    for number, stop in ((2, 350), (3, 700), (4, 710), (5, 1050)):
        writer.add_layers([layer(number)])
        append(writer, writer.last_iteration + 1 if writer.last_iteration else 0, stop)
        writer.commit()
    if cut is not None:
        writer.close()
        writer = RunWriter.resume(path, before=cut)
        append(writer, cut, 900)
    writer.close()


@pytest.mark.parametrize("cut", [None, 1045, 705, 310])
def test_what_must_be_there_is_what_was_written(tmp_path: Path, narrow: None, cut: int | None) -> None:
    path = tmp_path / "run"
    record(path, cut)
    manifest, nodes, _ = read_root(open_storage(path))
    presence = Presence(nodes, manifest.widths)
    arrays = [name for name, node in nodes.items() if node["node_type"] == "array"]
    wanted = {file_name(array, place) for array in arrays for place in presence.files(array)}
    written = {str(file.relative_to(path)) for file in path.rglob("*") if "/c/" in str(file) and file.is_file()}
    if cut is None:
        assert written == wanted
        assert manifest.widths
        assert "layers/level_2/summary" in nodes
    # What lay behind a cut may be left over, but only outside of what the root names.
    assert wanted <= written
    for name in written - wanted:
        array, place = parse_file_name(name) or ("", ())
        counts = presence.grid(array).counts
        assert any(one >= count for one, count in zip(place, counts, strict=True)), f"{name} is not asked for"


def test_layers_that_came_late_are_missing_and_lost_files_are_an_error(tmp_path: Path, narrow: None) -> None:
    record(tmp_path / "run", None)
    values = open_run(tmp_path / "run").layers["first"].values
    assert np.isnan(values[:700, 4:]).all()
    np.testing.assert_array_equal(values[710:, 5], np.arange(710, 1050))
    CHUNKS.clear()  # what was read is kept
    (tmp_path / "run/layers/level_0/value/c/0/1/50").unlink()  # records 800 to 815 of layers 4 and 5
    dataset = open_run(tmp_path / "run").layers["first"]
    with pytest.raises(MissingFileError, match="layers/level_0/value/c/0/1/50"):
        _ = dataset.values
    np.testing.assert_array_equal(dataset[:, :4].values, values[:, :4])
    np.testing.assert_array_equal(dataset[:800].values, values[:800])
