import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.app.wall import columns as columns_
from deeptracker.app.wall import compose, paint, states
from deeptracker.app.wall.columns import Columns, bucket_ranges, row_scales, to_columns
from deeptracker.app.wall.compose import Viewport, compose_states, compose_values
from deeptracker.app.wall.source import Envelope, States, until_next

spec = importlib.util.spec_from_file_location("twins", Path(__file__).with_name("twins.py"))
twins = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twins)

ITERATIONS = 20_000
SPIKE_AT, SPIKE_ROW = 13_331, 2


def envelope_of(raw, size):
    """Envelope of raw values (rows, iterations) in buckets of `size` iterations; the band is half a deviation wide."""
    rows, length = raw.shape
    buckets = -(-length // size)
    padded = np.full((rows, buckets * size), np.nan)
    padded[:, :length] = np.where(np.isfinite(raw), raw, np.nan)
    blocks = padded.reshape(rows, buckets, size)
    count = np.isfinite(blocks).sum(axis=2)
    lost = np.zeros((rows, buckets * size), bool)
    lost[:, :length] = ~np.isfinite(raw)
    mean = np.where(count > 0, np.nan_to_num(blocks).sum(axis=2) / np.maximum(count, 1), np.nan)
    square = np.nan_to_num((blocks - mean[:, :, None]) ** 2).sum(axis=2) / np.maximum(count, 1)
    low, high, half = np.fmin.reduce(blocks, axis=2), np.fmax.reduce(blocks, axis=2), np.sqrt(square) / 2
    start = np.arange(buckets) * size
    fields = (low, np.maximum(low, mean - half), mean, np.minimum(high, mean + half), high)
    nonfinite = lost.reshape(blocks.shape).any(axis=2)
    stop = np.minimum(start + size, length)
    return Envelope(start, stop, *(field.astype(np.float32) for field in fields), nonfinite)


@pytest.fixture(scope="module")
def raw():
    generator = np.random.default_rng(5)
    values = generator.normal(0, 0.05, (6, ITERATIONS)) + np.exp(-np.arange(ITERATIONS) / 4000)
    values[SPIKE_ROW, SPIKE_AT] = 9.0
    return values


def random_columns(generator, rows, count, with_flags=True):
    middle = generator.normal(0, 1, (rows, count)).cumsum(axis=1)
    width = generator.exponential(0.5, (4, rows, count))
    values = np.stack(
        [
            middle - width[0] - width[1],
            middle - width[0],
            middle,
            middle + width[2],
            middle + width[2] + width[3],
        ]
    ).astype(np.float32)
    values[:, generator.random((rows, count)) < 0.1] = np.nan
    flags = np.where(generator.random((rows, count)) < 0.1, generator.integers(1, 4, (rows, count)), 0)
    return Columns(values, (flags * with_flags).astype(np.uint8))


def none(rows):
    return np.zeros(rows, bool), np.zeros(rows, np.uint8)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_columns_agree_with_twin(seed, buckets, count):
    generator = np.random.default_rng(seed)
    edges = np.cumsum(generator.integers(1, 9, buckets + 1))
    shape = (3, buckets)
    values = np.sort(generator.normal(0, 1, (5, *shape)).astype(np.float32), axis=0)
    values[:, generator.random(shape) < 0.2] = np.nan
    envelope = Envelope(edges[:-1], edges[1:], *values, generator.random(shape) < 0.1)
    first, last = edges[0] - 3.5, edges[-1] + 2.25
    result = to_columns(envelope, first, last, count)
    expected, nonfinite = twins.columns_twin(envelope, first, last, count)
    np.testing.assert_allclose(result.values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal((result.flags & columns_.NONFINITE) > 0, nonfinite)


@pytest.mark.parametrize("row_height", [3, 5])
def test_heat_strips_agree_with_twin(row_height):
    data = random_columns(np.random.default_rng(1), 9, 30)
    view = Viewport(0, 30, 0, 9, 30, 9 * row_height)
    picture = compose_values(data, view, *none(9))
    expected = [
        [twins.heat_twin(data, picture.scales, y // row_height, x) for x in range(30)] for y in range(view.height)
    ]
    np.testing.assert_array_equal(picture.image, expected)


@pytest.mark.parametrize("row_height", [8, 15])
def test_horizon_agrees_with_twin(row_height):
    data = random_columns(np.random.default_rng(2), 5, 40)
    selected = np.array([False, True, False, False, False])
    view = Viewport(0, 40, 0, 5, 40, 5 * row_height)
    picture = compose_values(data, view, selected, np.zeros(5, np.uint8))
    expected = np.zeros_like(picture.image)
    for y in range(view.height):
        row, top = y // row_height, y // row_height * row_height
        place = (y, top, top + row_height, selected[row])
        expected[y] = [twins.horizon_twin(data, picture.scales, row, x, *place) for x in range(40)]
    differs = np.abs(expected.astype(int) - picture.image) > 1  # coverages may round the other way in float32
    assert not differs.any()
    assert (expected != picture.image).mean() < 0.01


@pytest.mark.parametrize("row_height", [16, 30, 90])
def test_envelope_agrees_with_twin(row_height):
    data = random_columns(np.random.default_rng(3), 4, 50)
    selected = np.array([False, False, True, False])
    view = Viewport(0, 50, 0, 4, 50, 4 * row_height)
    picture = compose_values(data, view, selected, np.zeros(4, np.uint8))
    expected = np.zeros_like(picture.image)
    for y in range(view.height):
        row, top = y // row_height, y // row_height * row_height
        place = (y, top, top + row_height, selected[row])
        expected[y] = [twins.envelope_twin(data, picture.scales, row, x, *place) for x in range(50)]
    assert (expected != picture.image).mean() < 0.005


def test_pooled_rows_are_the_mean_of_their_colours():
    data = random_columns(np.random.default_rng(4), 30, 20, with_flags=False)
    picture = compose_values(data, Viewport(0, 20, 0, 30, 20, 10), *none(30))
    assert picture.level == paint.POOLED
    low, high = picture.scales.T[:, :, None]
    shares = np.clip((data.values[2] - low) / (high - low), 0, 1).reshape(10, 3, 20)
    known = np.isfinite(shares)
    mean = np.where(known, shares, 0).sum(axis=1) / np.maximum(1, known.sum(axis=1))
    expected = paint.HEAT_BASE + np.minimum(paint.HEAT_STEPS - 1, (mean * paint.HEAT_STEPS).astype(int))
    expected[~known.any(axis=1)] = paint.BLANK
    assert np.abs(expected - picture.image.astype(int)).max() <= 1


@pytest.mark.parametrize("rows_on_screen", [6, 60])
@pytest.mark.parametrize("height", [30, 60, 400])
@pytest.mark.parametrize("span", [ITERATIONS, 3000, 120, 30])
def test_spike_of_one_iteration_is_seen_at_every_zoom(raw, rows_on_screen, height, span):
    """Against the same data without the spike: the picture differs, and differs where the spike is."""
    size = max(1, span // 700)
    many = np.tile(raw, (rows_on_screen // 6, 1))
    without = many.copy()
    without[SPIKE_ROW, SPIKE_AT] = without[SPIKE_ROW, SPIKE_AT - 1]
    first = max(0, SPIKE_AT - span // 2) if span < ITERATIONS else 0
    view = Viewport(first, first + span, 0, rows_on_screen, 300, height)
    pictures = [
        compose_values(to_columns(envelope_of(values, size), view.first, view.last, 300), view, *none(len(values)))
        for values in (many, without)
    ]
    at = int((SPIKE_AT - first) / span * 300)
    top, bottom = int(SPIKE_ROW * view.row_height), int(np.ceil((SPIKE_ROW + 1) * view.row_height))
    part = pictures[0].image[top:bottom, at - 1 : at + 2]
    assert (part != pictures[1].image[top:bottom, at - 1 : at + 2]).any()
    if pictures[0].level == paint.ENVELOPE:
        reached = np.flatnonzero(((part < 64) & (part > 0)).any(axis=1))
        assert reached.min() <= 4, "the envelope reaches the top of its row"
    elif span > 120:
        assert (part == paint.SPIKE_MARK).any()
        assert (pictures[0].image == paint.SPIKE_MARK).sum() < 40 * rows_on_screen / 6, "only what stands out is marked"


@pytest.mark.parametrize("height", [3, 30, 60, 400])
def test_nonfinite_values_are_marked_and_missing_ones_blank(height):
    values = np.random.default_rng(6).normal(0, 1, (6, 1000))
    values[1, 500] = np.nan
    values[4, 250] = np.inf
    envelope = envelope_of(values, 5)
    view = Viewport(-200, 1000, 0, 6, 240, height)
    picture = compose_values(to_columns(envelope, -200, 1000, 240), view, *none(6))
    for row, iteration in ((1, 500), (4, 250)):
        y = slice(int(row * view.row_height), max(int(row * view.row_height) + 1, int((row + 1) * view.row_height)))
        assert (picture.image[y, (iteration + 200) // 5] == paint.NONFINITE_MARK).any()
    lines = picture.image[:, :38]
    assert np.isin(lines, [paint.BLANK, paint.ROW_LINE]).all()
    assert (lines == paint.BLANK).any()


@pytest.mark.parametrize("height", [1, 4, 10, 200])
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 1])
def test_nothing_and_almost_nothing(height, rows, length):
    envelope = (
        Envelope.empty(rows) if not length else envelope_of(np.full((rows, 1), 2.5), 1) if rows else Envelope.empty(0)
    )
    view = Viewport(0, 1, 0, max(1, rows), 20, height)
    picture = compose_values(to_columns(envelope, 0, 1, 20), view, *none(rows))
    assert picture.image.shape == (height, 20)
    if not (rows and length):
        assert np.isin(picture.image, [paint.BLANK, paint.ROW_LINE]).all()
    else:
        assert (picture.image != paint.BLANK).any()


def test_common_scale_lets_rows_be_compared(raw):
    data = to_columns(envelope_of(np.stack([raw[0], raw[0] * 10]), 50), 0, ITERATIONS, 200)
    view = Viewport(0, ITERATIONS, 0, 2, 200, 100)
    own, common = (compose_values(data, view, *none(2), common=shared) for shared in (False, True))
    np.testing.assert_allclose(own.scales[1], own.scales[0] * 10, rtol=1e-3)
    np.testing.assert_array_equal(common.scales[0], common.scales[1])
    np.testing.assert_allclose(common.scales[0], [own.scales[:, 0].min(), own.scales[:, 1].max()])


def test_logarithm_keeps_zero_at_the_bottom_and_missing_missing():
    raw = np.array([[1e-6, 1e-3, 0.0, 1.0, -1.0]])
    result = to_columns(envelope_of(raw, 1), 0, 6, 6, logarithmic=True)
    np.testing.assert_allclose(result.values[2, 0], [-6, -3, -6, 0, -6, np.nan], atol=1e-5)


def test_logarithm_of_some_rows_leaves_the_others_and_the_scales_are_values():
    envelope = envelope_of(np.array([[1.0, 100.0], [1.0, 100.0]]), 1)
    data = to_columns(envelope, 0, 2, 2, logarithmic=np.array([True, False]))
    np.testing.assert_allclose(data.values[2], [[0, 2], [1, 100]])
    picture = compose_values(data, Viewport(0, 2, 0, 2, 2, 100), *none(2))
    np.testing.assert_allclose(picture.scales, [[1, 100], [1, 100]], rtol=1e-5)


def test_view_outside_of_the_rows_and_iterations_is_blank(raw):
    data = to_columns(envelope_of(raw, 100), 50_000, 60_000, 50)
    assert np.isnan(data.values).all()
    picture = compose_values(data, Viewport(50_000, 60_000, 100, 120, 50, 100), *none(6))
    assert (picture.image == paint.BLANK).all()


def test_finer_screens_get_thicker_lines_not_other_encodings(raw):
    data = to_columns(envelope_of(raw, 20), 0, ITERATIONS, 200)
    view = Viewport(0, ITERATIONS, 0, 6, 200, 6 * 40, unit=2.0)
    assert compose_values(data, view, *none(6)).level == paint.ENVELOPE
    assert Viewport(0, 1, 0, 6, 200, 6 * 20, unit=2.0).level == paint.HORIZON


def test_row_scales_of_flat_encodings_ignore_outliers(raw):
    data = to_columns(envelope_of(raw, 1), 0, ITERATIONS, ITERATIONS)
    assert row_scales(data, paint.HEAT, False)[SPIKE_ROW, 1] < 2 < row_scales(data, paint.ENVELOPE, False)[SPIKE_ROW, 1]


@pytest.mark.parametrize("row_height", [0.5, 0.3, 1.0, 4.0])
def test_states_agree_with_twin(row_height):
    generator = np.random.default_rng(7)
    data = generator.choice([0, 1, 2, 3, 255], (12, 40)).astype(np.uint8)
    members = [[0, 1, 2], [3], [4, 5], [6], [7], [8, 9, 10], [11]]
    start = np.cumsum(generator.integers(1, 20, 40))
    result = States(start, until_next(start), data)
    view = Viewport(0, start[-1], -1, 9, 35, int(10 * row_height + 0.5))
    picture = compose_states(result, members, view, *none(7))
    begin, end = bucket_ranges(result.start, result.stop, view.first, view.last, view.width)
    expected = [
        [twins.states_twin(data, members, begin, end, -1, view.row_height, y, x) for x in range(35)]
        for y in range(view.height)
    ]
    np.testing.assert_array_equal(picture.image, expected)


def test_one_flip_among_many_is_never_rounded_away():
    data = np.ones((400, 300), np.uint8)
    data[123, 45] = 3
    edges = np.arange(300)
    members = [[image] for image in range(400)]
    picture = compose_states(States(edges, edges + 1, data), members, Viewport(0, 300, 0, 400, 10, 10), *none(400))
    assert (picture.image >= states.RIGHT_STEPS).sum() == 1


def test_no_picture_waits_for_a_compiler(raw):
    compose.warm()
    kernels = [
        columns_.resample, columns_.flag_spikes, columns_.find_scales, columns_.to_logarithm,
        paint.paint_pooled, paint.paint_rows, states.paint_states,
    ]  # fmt: skip
    before = [len(kernel.signatures) for kernel in kernels]
    data = to_columns(envelope_of(raw, 20), 0, ITERATIONS, 200, logarithmic=True)
    for height in (3, 30, 60, 400):
        for top in (0, 1.5):
            compose_values(data, Viewport(0, ITERATIONS, top, top + 3, 200, height, 1), *none(6), common=True)
    assert [len(kernel.signatures) for kernel in kernels] == before
