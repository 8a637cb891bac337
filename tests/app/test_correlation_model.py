"""The cube's axes, pictures and words, from a planted run (synthetic) and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptracker.app.behind import Pictures
from deeptracker.app.behind_words import about_pair, about_row, overview
from deeptracker.app.correlation_model import bin_at, to_columns
from deeptracker.app.face_plot import FAINTEST, NO_BIN, ZERO, NamedAxis, diverging, shaded
from deeptracker.data_model.cube import IMAGE_RULES, EventCube, cube_of_table, members_of_row, strongest
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.selection import Selection
from tests import planted

WHOLE = (0, planted.ITERATIONS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path: Path = tmp_path_factory.mktemp("runs") / "planted"
    planted.write_planted(path).close()
    return open_run(path)


@pytest.fixture(scope="module")
def events(run: Run) -> EventCube:
    return cube_of_table(run, run.anomalies(), IMAGE_RULES["both"])


def test_the_axes_are_classes_and_the_layers_that_have_filters(events: EventCube) -> None:
    assert events.classes == list(planted.CLASSES)
    assert events.layers == [layer.name for layer in planted.LAYERS[:6]]
    assert events.filter_names[events.filters.member[0]].startswith("stage")
    assert set(events.images.row.tolist()) == {class_ for _, class_ in planted.LINKS}


def test_one_rule_alone_counts_fewer_images(run: Run, events: EventCube) -> None:
    left = cube_of_table(run, run.anomalies(), IMAGE_RULES["left"])
    assert 0 < len(left.images.row) < len(events.images.row)
    assert len(left.filters.row) == len(events.filters.row)


def test_the_planted_links_are_the_strongest_pairs(events: EventCube) -> None:
    found = events.pairs(WHOLE)
    assert set(strongest(found, 2)) == set(planted.LINKS)
    for layer, class_ in planted.LINKS:
        assert found["q_value"].values[layer, class_] < 0.01
        assert found["excess"].values[layer, class_] > 4
    assert int((found["q_value"].values < 0.05).sum()) == len(planted.LINKS)


def test_bins_are_merged_to_what_the_screen_shows(events: EventCube) -> None:
    assert events.faces(WHOLE).bins == 99
    assert events.faces(WHOLE, 30).bins == 25
    part = events.faces((300, 450))
    assert part.edges[0] <= 300
    assert part.edges[-1] >= 450
    assert part.bins <= 11


def test_members_of_a_row_come_most_frequent_first(events: EventCube) -> None:
    layer, class_ = planted.LINKS[0]
    found = members_of_row(events.images, WHOLE, class_)
    assert [times for _, times in found] == sorted((times for _, times in found), reverse=True)
    assert all(number // planted.IMAGES == class_ for number, _ in found)
    assert members_of_row(events.filters, (0, 1), layer) == []


def test_every_bin_shows_in_some_column_and_none_beside_the_bins() -> None:
    counts = np.zeros((2, 100), np.int32)
    counts[1, 57] = 9
    edges = np.arange(101) * 10
    picture = to_columns(counts, edges, (-100, 1100), 12)
    assert np.isnan(picture[:, [0, 11]]).all()
    assert picture[1].tolist()[1:11] == [0, 0, 0, 0, 0, 9, 0, 0, 0, 0]
    wide = to_columns(counts, edges, (570, 580), 5)
    assert wide[1].tolist() == [9] * 5
    assert np.isnan(to_columns(counts[:, :0], edges[:0], (0, 10), 4)).all()


def test_bin_at_finds_the_bin_or_nothing() -> None:
    edges = np.array([10, 20, 35])
    assert [bin_at(edges, x) for x in (9.9, 10, 19.9, 20, 34.5, 35)] == [
        None, (10, 20), (10, 20), (20, 35), (20, 35), None,
    ]  # fmt: skip


def test_shades_tell_nothing_found_from_nothing_known() -> None:
    shades = shaded(np.array([[np.nan, 0, 1, 5, 100]]), 100)
    assert shades[0, :3].tolist() == [NO_BIN, ZERO, FAINTEST]
    assert shades[0, 2] < shades[0, 3] < shades[0, 4] == 255
    assert diverging(np.array([-9.0, 0, 3, 9]), 6).tolist() == [1, 128, 191, 255]


def test_a_named_axis_knows_its_places() -> None:
    down = NamedAxis.of(["a", "b", "c"], -1)
    assert [down.place(y) for y in (0.4, -0.6, -2.4, -2.6, 0.6)] == [0, 1, 2, None, None]
    assert (down.range.start, down.range.end) == (-2.5, 0.5)


def test_words_say_what_is_behind(run: Run, events: EventCube) -> None:
    found, selection = events.pairs(WHOLE), Selection(images=["dog-00"])
    first = overview(events, found)["pairs"][0]
    assert first["strong"]
    assert (events.layers.index(first["layer"]), events.classes.index(first["class"])) in planted.LINKS
    layer, class_ = planted.LINKS[0]
    cell = about_pair(Pictures(run), events, found, WHOLE, layer, class_, selection)
    assert cell["title"] == "stage1.0.conv with dog"
    assert cell["lines"][0]["text"].startswith("Lift ")
    assert [image["value"] for image in cell["images"] if image["picked"]] == ["dog-00"]
    assert cell["images"][0]["src"].startswith("data:image/png;base64,")
    assert len(cell["filters"]) >= 8
    row = about_row(Pictures(run), events, WHOLE, class_, True, selection)
    assert row["lines"] == ["12 images flipped after or into a stable stretch."]


def test_few_bins_are_not_judged_in_words(run: Run, events: EventCube) -> None:
    few = (300, 400)
    found = events.pairs(few)
    assert "Too few bins to judge" in overview(events, found)["lines"][0]
    cell = about_pair(Pictures(run), events, found, few, 0, 0, Selection())
    assert "too few for a p-value" in cell["lines"][0]["text"]
    assert cell["more"] == "No bin is shared."
