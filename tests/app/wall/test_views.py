"""The layer and validation views on a small recorded run, without a browser: what they read, show and write."""

import re
import time

import numpy as np
import pytest

from deeptracker.app.kernels import kernel_pixels
from deeptracker.app.run_walls import marks_of
from deeptracker.app.session import Session
from deeptracker.app.theme import THEMES, rgb
from deeptracker.app.views import base
from deeptracker.app.views.base import find_views
from deeptracker.app.views.layers import Layers, statistic_options
from deeptracker.app.views.validation import Validation, last_values
from deeptracker.app.wall.plot import Mark
from deeptracker.data_model.anomaly import Anomaly, Kind, to_frame
from deeptracker.data_model.run import open_run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

PARTS = ("min", "q1", "median", "q3", "max")
STATISTICS = [
    *(Statistic(f"weight_{part}", group="weight", meaning=f"The {part} of the weights") for part in PARTS),
    Statistic("relative_change_l2", group="update", logarithmic=True),
]
LAYERS = [
    Layer("stem", "Conv2d", (2, 1, 3, 3), 2),
    Layer("block.0.conv", "Conv2d", (3, 2, 3, 3), 3),
    Layer("head", "Linear", (2, 3), 0),
]
IDS = [f"image-{number}" for number in range(6)]


def append(writer, start, stop):
    t = np.arange(start, stop)
    values = np.abs(np.sin(t[:, None, None] / 50 + np.arange(6)[None, :, None] + np.arange(3)[None, None])) + 0.01
    values[:, :5].sort(axis=1)  # from the smallest to the largest
    writer.append_layers(t, values.astype(np.float32), 1)
    writer.append_filters(t, np.random.default_rng(start).random((len(t), 1, 5)).astype(np.float32), 1)
    writer.append_scalars(t, {"loss": np.exp(-t / 100), "learning_rate": np.where(t < 150, 0.1, 0.01)})
    for at in t[t % 50 == 0]:
        truth = np.array([0, 0, 0, 1, 1, 1], np.int32)
        guess = np.where(np.arange(6) * 40 <= at, truth, 1 - truth).astype(np.int32)
        chance = np.full(6, 0.5, np.float32)
        writer.append_validation(int(at), IDS, truth, guess, chance, (guess != truth).astype(np.int32))


@pytest.fixture
def recording(tmp_path):
    filters = [Statistic("relative_change_l2", logarithmic=True)]
    description = Description(name="small", classes=("cat", "dog"))
    writer = RunWriter.create(tmp_path / "run", description, LAYERS, STATISTICS, filters)
    append(writer, 0, 300)
    writer.append_snapshot(0, [np.full(layer.shape, 0.5, np.float32) for layer in LAYERS])
    writer.commit()
    yield writer
    writer.close()


@pytest.fixture
def session(recording):
    opened = Session(open_run(recording.storage))
    yield opened
    opened.close()


def shown(wall, width=400, height=300):
    """Lay the wall out as a browser would, and return its last picture."""
    wall._resized("inner_width", 0, width)
    wall._resized("inner_height", 0, height)
    return wall.drawn.picture.image


def built(kind, session):
    view = kind(session)
    view.__panel__()
    return view


def test_views_are_found_in_their_order():
    titles = [view.title for view in find_views()]
    assert titles.index("Validation") < titles.index("Layers")


@pytest.mark.parametrize("kind", find_views(), ids=lambda kind: kind.title)
def test_a_view_that_is_closed_before_its_turn_is_never_built(kind, session, monkeypatch):
    waiting = []
    monkeypatch.setattr(base, "once_shown", waiting.append)
    view = kind(session)
    frame = view.__panel__()
    assert "is opening" in frame[0].object
    view.close()
    waiting.pop()()
    assert "is opening" in frame[0].object


@pytest.mark.parametrize("kind", find_views(), ids=lambda kind: kind.title)
def test_a_view_takes_the_place_of_its_outline(kind, session, monkeypatch):
    waiting = []
    monkeypatch.setattr(base, "once_shown", waiting.append)
    view = kind(session)
    frame = view.__panel__()
    waiting.pop()()
    assert "is opening" not in str(getattr(frame[0], "object", ""))
    view.close()


def test_layers_stand_in_network_order_as_a_tree(session):
    view = built(Layers, session)
    wall = view._wall
    assert [row.label for row in wall.layout.rows] == ["stem", "conv", "head"]
    assert [span.label for span in wall.layout.spans] == ["block", "0"]
    assert (shown(wall) < 64).any()
    view.close()


def test_a_median_stands_for_the_whole_distribution():
    assert statistic_options(STATISTICS) == {
        "relative change l2": "relative_change_l2",
        "weight distribution": "weight_median",
        "weight min": "weight_min",
        "weight max": "weight_max",
    }


def test_statistic_is_read_from_and_written_to_the_selection(session):
    view = built(Layers, session)
    assert view._wall.logarithmic
    session.selection.statistic = "weight_median"
    assert view._statistic.value == "weight_median"
    assert not view._wall.logarithmic
    shown(view._wall)
    envelope, _ = view._wall.feed.envelope_row(0)
    assert (envelope.low < envelope.middle).all()
    view._statistic.value = "weight_max"
    assert session.selection.statistic == "weight_max"
    view.close()


def test_clicked_layer_opens_its_filters_and_their_kernels(session):
    view = built(Layers, session)
    shown(view._wall)
    view._wall._pick(1.5, {})
    assert session.selection.layers == ["block.0.conv"]
    panel = view._filters
    assert panel.layout.visible
    assert [row.label for row in panel.wall.layout.rows] == ["filter 0", "filter 1", "filter 2"]
    assert [row.entities for row in panel.wall.layout.rows] == [(2,), (3,), (4,)]
    assert not panel._kernels.visible
    panel.wall._pick(2.2, {})
    assert session.selection.filters == [4]
    assert panel._kernels.visible
    assert panel._kernels.object.count("<img") == 1
    session.selection.layers = []
    assert not panel.layout.visible
    view.close()


def test_search_and_order(session):
    view = built(Layers, session)
    view._search.value_input = "block"
    assert [row.entities for row in view._wall.layout.rows] == [(1,)]
    view._search.value_input = ""
    view._order.value = "value"
    assert sorted(row.label for row in view._wall.layout.rows) == ["block.0.conv", "head", "stem"]
    means = view._scores("value")
    order = [row.entities[0] for row in view._wall.layout.rows]
    assert [means[entity] for entity in order] == sorted(means, reverse=True)
    view.close()


def test_class_opens_its_images_and_an_image_selects(session):
    view = built(Validation, session)
    assert (shown(view._wall) < 64).any()
    view._wall._pick(1.0, {})
    assert session.selection.classes == ["dog"]
    panel = view._images
    assert panel.layout.visible
    assert [row.label for row in panel.wall.layout.rows] == ["image-3", "image-4", "image-5"], "learned first on top"
    picture = shown(panel.wall)
    assert {0, 15} <= set(np.unique(picture).tolist()), "wrong at first, right in the end"
    assert "wrong" in re.sub("<[^>]+>", " ", panel.wall.readout(0, 60))
    panel.wall._pick(2.5, {})
    assert session.selection.images == ["image-5"]
    session.selection.classes = []
    assert not panel.layout.visible
    view.close()


def test_several_classes_are_groups(session):
    view = built(Validation, session)
    session.selection.classes = ["dog", "cat"]
    assert [span.label for span in view._images.wall.layout.spans] == ["dog", "cat"]
    assert view._wall.selected == [1, 0]
    view.close()


def test_brush_and_theme_go_both_ways(session):
    layers, validation = built(Layers, session), built(Validation, session)
    layers._wall._brush((50, 120))
    assert session.selection.brush == (50, 120)
    assert validation._wall.brush == (50, 120)
    session.theme = "dark"
    assert {layers._wall.theme, validation._wall.theme, layers._filters.wall.theme} == {"dark"}
    assert [at for at, _ in layers._wall.landmarks] == [150]
    layers.close()
    validation.close()


def test_views_follow_a_growing_run_without_moving_the_zoom(recording, session):
    view = built(Validation, session)
    shown(view._wall)
    session.axes.iterations.update(start=0, end=100)
    time.sleep(0.05)
    before = view._wall.feed.fetched
    append(recording, 300, 400)
    recording.commit()
    assert session.run.refresh()
    assert view._wall.feed.fetched > before
    assert view._wall.drawn.view.last == 100
    view.close()


def test_marks_are_only_of_the_kind_and_the_strongest_of_each_rule():
    table = to_frame(
        [
            Anomaly("a", Kind.LAYER, "stem", 0, 10, 20, 5.0, ""),
            Anomaly("a", Kind.LAYER, "head", 2, 30, 31, 9.0, ""),
            Anomaly("b", Kind.FILTER, "stem", 0, 1, 2, 99.0, ""),
        ]
    )
    names = [layer.name for layer in LAYERS]
    assert marks_of(table, "layer", names) == [Mark(0, 10, 20), Mark(2, 30, 31)]
    assert marks_of(table, "layer", names, most=1) == [Mark(2, 30, 31)]


def test_kernels_share_one_scale_and_zero_is_the_middle():
    weights = np.zeros((2, 4, 3, 3), np.float32)
    weights[1, 3] = 2.0
    first, second = kernel_pixels(weights, THEMES["light"])
    assert first.shape == (7, 7, 3)
    middle = THEMES["light"].diverging[2]
    assert np.abs(first[0, 0].astype(int) - rgb(middle)).max() <= 2
    assert tuple(second[6, 6]) == rgb(THEMES["light"].diverging[-1])


def test_last_values_skip_what_is_missing():
    values = np.array([[1, 2, np.nan], [np.nan] * 3, [4, 5, 6]], np.float32)
    np.testing.assert_array_equal(last_values(values), [2, np.nan, 6])


def test_a_source_that_fails_shows_in_its_view_only(session, monkeypatch):
    layers, validation = built(Layers, session), built(Validation, session)
    shown(validation._wall)

    def broken(*arguments):
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(layers._wall.feed.source), "envelope", broken)
    layers._wall._resized("inner_width", 0, 400)
    layers._wall._resized("inner_height", 0, 300)
    words = str([getattr(part, "object", "") for part in layers._frame.select()])
    assert "the disk is gone" in words
    assert "the disk is gone" not in str([getattr(part, "object", "") for part in validation._frame.select()])
    layers.close()
    validation.close()


def test_run_without_validations_says_so(tmp_path):
    writer = RunWriter.create(tmp_path / "young", Description(), LAYERS, STATISTICS, [])
    writer.append_scalars(np.arange(5), {"loss": np.ones(5)})
    writer.commit()
    young = Session(open_run(writer.storage))
    view = built(Validation, young)
    assert [row.label for row in view._walls[0].layout.rows] == ["training loss"]
    assert "No validation yet" in str([getattr(part, "object", "") for part in view._frame.select()])
    truth = np.array([0, 1], np.int32)
    chance = np.full(2, 0.5, np.float32)
    writer.append_validation(5, ["x", "y"], truth, truth, chance, np.zeros(2, np.int32))
    writer.commit()
    assert young.run.refresh()
    assert "No validation yet" not in str([getattr(part, "object", "") for part in view._frame.select()])
    assert [row.label for row in view._wall.layout.rows] == ["0", "1"]
    view.close()
    young.close()
    writer.close()
