"""Loss spikes, learning-rate changes and NaN on planted series (synthetic)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.data_model.rules.learning_rate import LearningRateChange, LearningRateRise
from deeptracker.data_model.rules.loss_spike import BLOCK, LossSpike, spike_scores
from deeptracker.data_model.rules.non_finite import NonFiniteLayer, NonFiniteScalar


def slow_score(values: np.ndarray, position: int, window: int, fewest: int, floor: float) -> float:
    """The definition written out for one record."""
    begin = position // BLOCK * BLOCK
    past = values[max(begin - window, 0) : begin]
    if len(past) < fewest or values[position] <= past.max():
        return 0.0
    now, least = values[position], floor
    if past.min() > 0:
        now, past = np.log(now), np.log(past)
    else:
        least = floor * abs(np.median(past))
    width = 1.4826 * np.median(np.abs(past - np.median(past)))
    return float((now - np.median(past)) / max(width, least, np.finfo(float).tiny))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 400), st.floats(-0.5, 1), st.integers(0, 8))
def test_scores_agree_with_the_definition(seed: int, length: int, shift: float, first: int) -> None:
    random = np.random.default_rng(seed)
    values = np.exp(random.normal(size=length)) + shift
    values[random.integers(0, length, 3)] *= 20
    blocks = range(min(first, -(-length // BLOCK)), -(-length // BLOCK))
    found = spike_scores(values, 4 * BLOCK, 30, 0.03, blocks)
    expected = [slow_score(values, at, 4 * BLOCK, 30, 0.03) for at in range(blocks.start * BLOCK, length)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.fixture
def falling(fake_run: Callable[..., Any]) -> Any:
    """Synthetic: a loss that falls by decades with 10 % noise, and a learning rate in steps."""
    random = np.random.default_rng(1)
    loss = np.exp(2 - np.arange(3000) / 800 + random.normal(0, 0.1, 3000))
    rate = np.repeat([0.1, 0.01, 0.001], 1000)
    return fake_run(iteration=np.arange(3000) * 2, scalar_values={"loss": loss, "learning_rate": rate})


def test_a_falling_loss_has_no_spike(falling: Any) -> None:
    assert LossSpike().find(falling) == []


def test_a_spike_is_found_where_it_is(falling: Any) -> None:
    falling.scalar_values["loss"][[1510, 1511, 1512]] *= [5, 40, 4]
    (spike,) = LossSpike().find(falling)
    assert (spike.entity, spike.start, spike.stop) == ("loss", 3020, 3026)
    peak = falling.scalar_values["loss"][1511]
    before = np.median(falling.scalar_values["loss"][1500 - 250 : 1500])
    assert spike.message == f"loss jumped to {peak:.4g}, from about {before:.4g} before"


def test_a_growing_run_keeps_its_spikes(falling: Any) -> None:
    falling.scalar_values["loss"][[400, 800, 1201, 1776, 1777, 2500]] *= 30
    whole = LossSpike().find(falling)
    assert len(whole) == 5
    falling.iteration = falling.iteration[:1777]
    falling.scalar_values = {name: values[:1777] for name, values in falling.scalar_values.items()}
    seen = LossSpike().find(falling)
    assert seen[:-1] == whole[:3]
    assert (seen[-1].start, whole[3].start, whole[3].stop) == (1776 * 2, 1776 * 2, 1778 * 2)


def test_learning_rate_steps_are_landmarks_with_their_numbers(falling: Any) -> None:
    first, second = LearningRateChange().find(falling)
    assert LearningRateChange.landmark
    assert (first.start, first.stop, second.start) == (2000, 2001, 4000)
    assert first.message == "learning_rate fell from 0.1 to 0.01"
    assert first.score == pytest.approx(np.log(10))


def test_a_rate_that_is_too_high_for_a_single_step_rises_and_falls(falling: Any) -> None:
    rate = np.full(3000, 0.1)
    rate[1200] = 10
    falling.scalar_values = {"learning_rate": rate}
    assert [one.start for one in LearningRateChange().find(falling)] == [2400, 2402]
    (rise,) = LearningRateRise().find(falling)
    assert (rise.start, rise.message) == (2400, "learning_rate rose from 0.1 to 10")


def test_a_warm_up_is_one_landmark_and_a_slow_schedule_none(falling: Any) -> None:
    rate = np.concatenate([np.geomspace(0.001, 0.064, 10), np.linspace(0.064, 0.05, 2990)])
    falling.scalar_values = {"learning_rate": rate}
    (warm_up,) = LearningRateChange().find(falling)
    assert warm_up.message == "learning_rate rose from 0.001 to 0.064 over 17 iterations"
    assert (warm_up.start, warm_up.stop) == (2, 19)


stretches = st.lists(st.tuples(st.integers(0, 4999), st.integers(1, 900)), max_size=5)


def marked_by(places: list[tuple[int, int]]) -> np.ndarray:
    marked = np.zeros(5000, bool)
    for start, length in places:
        marked[start : start + length] = True
    return marked


def runs_of(marked: np.ndarray, window: tuple[int, int]) -> list[tuple[int, int]]:
    """Spans of iterations of the marked records inside the window; a record stands for 2 iterations."""
    each = np.repeat(marked, 2)
    each[: window[0]] = False
    each[window[1] :] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], each.astype(int), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


@settings(deadline=None, max_examples=40)
@given(stretches, st.integers(0, 9998), st.integers(1, 9999))
def test_stretches_of_nan_are_exact(
    fake_run: Callable[..., Any], places: list[tuple[int, int]], start: int, length: int
) -> None:
    marked = marked_by(places)
    series = np.where(marked, np.nan, 1.0)
    series[1::7][marked[1::7]] = np.inf
    run = fake_run(iteration=np.arange(5000) * 2, scalar_values={"loss": series})
    window = (start, min(start + length, 10_000))
    assert [(found.start, found.stop) for found in NonFiniteScalar().find(run, window)] == runs_of(marked, window)


@settings(deadline=None, max_examples=40)
@given(stretches, stretches)
def test_counts_of_nan_are_exact_per_layer(
    fake_run: Callable[..., Any], first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    marked = np.stack([marked_by(first), marked_by(second)], axis=1)
    run = fake_run(iteration=np.arange(5000) * 2, layer_values={"gradient_nonfinite": marked * 3.0})
    found = NonFiniteLayer().find(run)
    for layer in range(2):
        mine = [(anomaly.start, anomaly.stop) for anomaly in found if anomaly.index == layer]
        assert mine == runs_of(marked[:, layer], (0, 10_000))


def test_a_clean_run_costs_one_look(fake_run: Callable[..., Any]) -> None:
    run = fake_run(iteration=np.arange(5000), scalar_values={"loss": np.ones(5000)})
    assert NonFiniteScalar().find(run) == []
    assert len(run.reads) == 1


def test_a_value_that_was_not_recorded_is_no_nan(fake_run: Callable[..., Any]) -> None:
    series = np.where(np.arange(100) % 10 == 0, 1.0, np.nan)
    run = fake_run(iteration=np.arange(100), scalar_values={"validation_loss": series}, missing=np.isnan)
    assert NonFiniteScalar().find(run) == []


def test_the_message_says_which_tensor(fake_run: Callable[..., Any]) -> None:
    bad = np.zeros((50, 2))
    bad[20:, 1] = 9
    run = fake_run(iteration=np.arange(50), layer_values={"gradient_nonfinite": bad})
    (found,) = NonFiniteLayer().find(run)
    assert found.message == "gradients of layer1 held NaN or Inf from iteration 20 to 49"
