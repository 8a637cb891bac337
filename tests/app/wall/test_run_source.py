import numpy as np
import pytest

from deeptracker.app.wall.order import by_history, by_shape
from deeptracker.app.wall.run_source import (
    CurvesSource,
    DistributionSource,
    ImageSource,
    SeriesSource,
    distributions,
    image_states,
)
from deeptracker.app.wall.source import (
    FORGOTTEN,
    LEARNED,
    MISSING,
    RIGHT,
    WRONG,
    Envelope,
    EnvelopeSource,
    PoolingSource,
    StateSource,
    align,
)
from deeptracker.data_model.run import open_run
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

PARTS = ("min", "q1", "median", "q3", "max")


def recorded(path, iterations=300):
    """Write a run of two layers whose weight statistics at iteration t are t + (0, 1, 2, 3, 4), times the layer + 1."""
    layers = [Layer("a.conv", "Conv2d", (2, 1, 3, 3), 2), Layer("b", "Linear", (2, 2), 0)]
    statistics = [Statistic(f"weight_{part}", group="weight") for part in PARTS]
    writer = RunWriter.create(path, Description(classes=("cat", "dog")), layers, statistics, [Statistic("weight_std")])
    t = np.arange(iterations)
    values = (t[:, None, None] + np.arange(5)[None, :, None]) * np.array([1, 2])[None, None]
    writer.append_layers(t, values.astype(np.float32), 1)
    writer.append_scalars(t, {"loss": 1.0 / (t + 1)})
    for at, predicted in ((0, [0, 0, 1]), (100, [0, 1, 1]), (200, [0, 0, 1])):
        some = np.array([0, 1, 1], np.int32)
        guess = np.array(predicted, np.int32)
        chance = np.full(3, 0.5, np.float32)
        writer.append_validation(at, ["x", "y", "z"], some, guess, chance, (some != guess).astype(np.int32))
    writer.close()
    return open_run(path)


def test_sources_are_what_the_wall_draws(tmp_path):
    run = recorded(tmp_path / "run")
    assert isinstance(SeriesSource(run, "weight_min", "layers"), EnvelopeSource)
    assert isinstance(ImageSource(run), StateSource)
    assert not isinstance(ImageSource(run), EnvelopeSource)
    assert distributions(run.layer_statistics) == ["weight"]


def test_series_of_layers(tmp_path):
    run = recorded(tmp_path / "run")
    envelope = SeriesSource(run, "weight_max", "layers").envelope(np.array([1, 0]), (10, 20), 10)
    np.testing.assert_array_equal(envelope.middle, [2 * (envelope.start + 4), envelope.start + 4])
    assert envelope.low.dtype == np.float32
    assert envelope.low.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("name", ["weight_max", "distribution"])
def test_a_folded_group_is_the_envelope_of_its_layers(tmp_path, name):
    run = recorded(tmp_path / "run", 1000)
    source = DistributionSource(run, "weight") if name == "distribution" else SeriesSource(run, name, "layers")
    assert isinstance(source, PoolingSource)
    rows, pooled = source.envelope(np.array([0, 1]), (0, 1000), 50), source.pooled([[1], [0, 1]], (0, 1000), 50)
    for field in ("low", "band_low", "middle", "band_high", "high"):
        np.testing.assert_array_equal(getattr(pooled, field)[0], getattr(rows, field)[1])
    np.testing.assert_array_equal(pooled.low[1], rows.low.min(axis=0))
    np.testing.assert_array_equal(pooled.high[1], rows.high.max(axis=0))
    np.testing.assert_allclose(pooled.middle[1], rows.middle.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(pooled.start, rows.start)


def test_the_mean_of_a_group_of_classes_weighs_every_value(tmp_path):
    run = recorded(tmp_path / "run")
    pooled = SeriesSource(run, "error", "classes").pooled([[0, 1], [0]], (0, 300), 10)
    np.testing.assert_allclose(pooled.middle[0], [0.25, 0, 0.25], atol=1e-6)
    np.testing.assert_array_equal(pooled.middle[1], [0, 0, 0])


def test_distribution_spans_the_extremes_with_the_quartiles_as_band(tmp_path):
    run = recorded(tmp_path / "run", 1000)
    envelope = DistributionSource(run, "weight").envelope(np.array([0]), (0, 1000), 50)
    assert (envelope.stop - envelope.start).max() > 1
    np.testing.assert_allclose(envelope.low[0], envelope.start)
    np.testing.assert_allclose(envelope.high[0], envelope.stop - 1 + 4)
    middle = (envelope.start + envelope.stop - 1) / 2
    for field, more in (("band_low", 1), ("middle", 2), ("band_high", 3)):
        np.testing.assert_allclose(getattr(envelope, field)[0], middle + more, rtol=1e-6)


def test_curves_keep_their_own_rhythm(tmp_path):
    run = recorded(tmp_path / "run")
    source = CurvesSource(run, (("loss", "scalars"), ("error", "validation")))
    envelope = source.envelope(np.array([0, 1]), (0, 300), 400)
    at = np.searchsorted(envelope.start, 150, side="right") - 1
    np.testing.assert_allclose(envelope.middle[:, at], [1 / 151, 0.0], rtol=1e-6)
    at = np.searchsorted(envelope.start, 50, side="right") - 1
    np.testing.assert_allclose(envelope.middle[1, at], 1 / 3, rtol=1e-6)


def test_images_change_state_against_the_last_validation_that_saw_them(tmp_path):
    run = recorded(tmp_path / "run")
    states = ImageSource(run).states(np.array([1, 0]))
    assert states.state.tolist() == [[WRONG, LEARNED, FORGOTTEN], [RIGHT, RIGHT, RIGHT]]
    assert (states.start.tolist(), states.stop.tolist()) == ([0, 100, 200], [100, 200, 300])


def test_an_image_not_seen_is_missing_and_no_change():
    predicted = np.array([[0, -1], [-1, -1], [1, 0]], np.int32)
    nothing = np.zeros(predicted.shape)
    results = ValidationResults(
        np.arange(3), np.array(["a", "b"]), np.zeros(2, np.int32), predicted, nothing, predicted
    )
    assert image_states(results).tolist() == [[RIGHT, MISSING, FORGOTTEN], [MISSING, MISSING, RIGHT]]


def test_align_cuts_at_every_edge_and_keeps_the_values():
    def one(start, stop, values):
        row = np.array([values], np.float32)
        return Envelope.of(np.array(start), np.array(stop), row, row, row, np.zeros(row.shape, bool))

    both = align([one([0, 10], [10, 20], [1, 2]), one([5], [15], [7]), Envelope.empty(1)])
    assert both.start.tolist() == [0, 5, 10, 15]
    np.testing.assert_array_equal(both.middle[0], [1, 1, 2, 2])
    np.testing.assert_array_equal(both.middle[1], [np.nan, 7, 7, np.nan])
    assert np.isnan(both.middle[2]).all()


def test_like_shapes_lie_together_whatever_their_scale():
    t = np.linspace(0, 1, 50)
    rows = np.stack([t, 1 - t, 3 * t + 5, 2 - 9 * t, np.full(50, np.nan)]).astype(np.float32)
    order = np.argsort(by_shape(rows))
    assert {frozenset(order[:2].tolist()), frozenset(order[2:4].tolist())} == {frozenset({0, 2}), frozenset({1, 3})}
    assert np.isnan(by_shape(rows)[4])


def test_images_learned_early_come_first_and_never_learned_last():
    states = np.array([[0, 0, 0, 0], [0, 3, 1, 1], [1, 1, 1, 1], [1, 2, 3, 1], [255] * 4], np.uint8)
    score = by_history(states)
    assert np.argsort(-score[:4]).tolist() == [2, 1, 3, 0]
    assert np.isnan(score[4])
