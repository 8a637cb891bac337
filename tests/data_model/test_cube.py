"""The cube of a planted run (synthetic): from the records and from the table of anomalies, down to members."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model import images
from deeptracker.data_model.cube import IMAGE_RULES, EventCube, cube_of_table, strongest
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import Run, open_run
from tests import planted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path: Path = tmp_path_factory.mktemp("runs") / "planted"
    planted.write_planted(path).close()
    return open_run(path)


@pytest.fixture(scope="module")
def cube(run: Run) -> EventCube:
    return run.cube()


@pytest.mark.parametrize("which", list(IMAGE_RULES))
def test_records_and_the_table_of_anomalies_give_the_same_cube(
    run: Run, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_CELLS", 1)
    table = cube_of_table(run, run.anomalies(), IMAGE_RULES[which])
    found = run.cube(which)
    for limit in (None, 7):
        expected, counted = table.faces(limit=limit), found.faces(limit=limit)
        assert expected.classes.any()
        np.testing.assert_array_equal(counted.edges, expected.edges)
        np.testing.assert_array_equal(counted.classes, expected.classes)
        np.testing.assert_array_equal(counted.layers, expected.layers)


def test_the_planted_links_are_found(cube: EventCube) -> None:
    found = cube.pairs()
    assert set(strongest(found, 2)) == set(planted.LINKS)
    assert {(int(i), int(j)) for i, j in np.argwhere(found["q_value"].values < 0.05)} == set(planted.LINKS)


def test_spans_can_be_left_out(cube: EventCube) -> None:
    layer, class_ = planted.LINKS[0]
    whole = cube.pairs()
    part = cube.pairs(without=[(300, 310), (600, 900)])
    assert whole.attrs["bins"] - part.attrs["bins"] == 1 + 20
    assert 0 < part["observed"].values[layer, class_] < whole["observed"].values[layer, class_]
    assert cube.pairs(without=[(0, planted.ITERATIONS)]).attrs["bins"] == 0


@pytest.mark.parametrize("limit", [None, 9])
def test_members_add_up_to_their_row(cube: EventCube, limit: int | None) -> None:
    counted = cube.faces((200, 1300), limit)
    for class_ in range(len(cube.classes)):
        edges, members, face = cube.image_face(class_, (200, 1300), limit)
        np.testing.assert_array_equal(edges, counted.edges)
        np.testing.assert_array_equal(face.sum(axis=0), counted.classes[class_])
        assert all(cube.image_ids[one].startswith(cube.classes[class_]) for one in members)
    for layer in range(len(cube.layers)):
        _, members, face = cube.filter_face(layer, (200, 1300), limit)
        np.testing.assert_array_equal(face.sum(axis=0), counted.layers[layer])
        assert all(cube.filter_names[one].startswith(cube.layers[layer]) for one in members)


def test_an_unknown_kind_of_flip_is_refused(run: Run) -> None:
    with pytest.raises(QueryError, match="left, right, both"):
        run.cube("up")


def test_a_run_without_validations_has_an_empty_cube(tmp_path: Path) -> None:
    planted.write_planted(tmp_path / "run", iterations=0).close()
    cube = open_run(tmp_path / "run").cube()
    assert cube.faces().bins == 0
    assert cube.pairs().attrs["bins"] == 0
