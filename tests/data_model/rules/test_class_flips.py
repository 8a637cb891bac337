"""Sudden flips of a class: planted ones found (synthetic), and no more alarms without any than the risk allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deeptracker.data_model import images
from deeptracker.data_model.flip_counts import FlipCounts, surprise, upper_tail
from deeptracker.data_model.image_events import flips
from deeptracker.data_model.rules.class_flips import ClassFlips, ValidationFlips
from deeptracker.data_model.run import open_run
from deeptracker.data_model.validation_results import ValidationResults
from tests import planted

CLASSES, IMAGES = 5, 40


def results_of(correct: np.ndarray, classes: np.ndarray) -> ValidationResults:
    predicted = np.where(correct < 0, -1, np.where(correct == 1, classes, classes + 1)).astype(np.int32)
    rank = np.where(correct < 0, -1, np.where(correct == 1, 0, 1)).astype(np.int32)
    ids = np.array([str(number) for number in range(len(classes))], object)
    iteration = 7 + 10 * np.arange(len(correct))
    return ValidationResults(iteration, ids, classes, predicted, np.zeros(correct.shape, np.float32), rank)


@given(st.integers(0, 12), st.integers(0, 1000))
def test_counts_are_those_of_a_plain_loop(validations: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    correct = random.integers(-1, 2, (validations, 9)).astype(np.int8)
    classes = random.integers(0, 3, 9).astype(np.int32)
    whole = results_of(correct, classes)
    counted = FlipCounts.none(9, 3)
    for part in (slice(0, 5), slice(5, 6), slice(6, None)):
        columns = [getattr(whole, name)[part] for name in ("predicted", "probability", "rank")]
        counted = counted.extended(ValidationResults(whole.iteration[part], whole.image, classes, *columns))
    np.testing.assert_array_equal(counted.iteration, whole.iteration)
    expected = {name: np.zeros((validations, 3), int) for name in ("flipped", "forgotten", "judged")}
    found = flips(whole.correct)
    for v, i, learned in zip(found.validation, found.image, found.learned, strict=True):
        expected["flipped"][v, classes[i]] += 1
        expected["forgotten"][v, classes[i]] += not learned
    for v, i in np.argwhere(correct >= 0):
        expected["judged"][v, classes[i]] += (correct[:v, i] >= 0).any()
    for name, counts in expected.items():
        np.testing.assert_array_equal(getattr(counted, name), counts)


def test_the_tail_is_that_of_a_negative_binomial() -> None:
    count, mean, dispersion = np.array([1, 4, 30]), np.array([0.2, 5.0, 6.0]), np.array([0.5, 0.1, 2.0])
    reference = stats.nbinom.sf(count - 1, 1 / dispersion, 1 / (1 + dispersion * mean))
    np.testing.assert_allclose(upper_tail(count, mean, dispersion), reference, rtol=1e-9)


def counts_of(flipped: np.ndarray, images: int) -> FlipCounts:
    judged = np.full(flipped.shape, images, np.int64)
    return FlipCounts(np.arange(len(flipped)), flipped, np.zeros_like(judged), judged, np.zeros(0, np.int8))


@pytest.mark.parametrize(("dispersion", "shared"), [(0.05, 0.0), (0.8, 0.0), (0.1, 0.8)])
def test_without_changes_alarms_are_as_rare_as_the_risk(dispersion: float, shared: float) -> None:
    """Synthetic: counts of 40 classes that flip in bursts, of their own or all together; a binomial one would alarm
    at every tenth validation.
    """
    random = np.random.default_rng(3)
    rate = random.uniform(0.5, 6, 40)
    burst = random.gamma(1 / dispersion, dispersion, (1500, 40))
    together = random.gamma(1 / shared, shared, (1500, 1)) if shared else np.ones((1500, 1))
    counts = counts_of(random.poisson(rate * burst * together), 200)
    p_value = surprise(counts, past=20, fewest=10, risk=1e-3 / 40).p_value
    for level, most in ((1e-2, 1.6), (1e-3, 2.5)):
        share = (p_value < level).mean()
        assert share < most * level, f"{share:.5f} of p-values are below {level}"
    assert (p_value < 1e-3 / 40).any(axis=1).mean() < 4e-3


@pytest.fixture
def recorded(fake_run: Callable[..., Any]) -> Callable[..., Any]:
    def build(disturb: Callable[[np.ndarray, np.ndarray], None]) -> Any:
        random = np.random.default_rng(1)
        classes = np.repeat(np.arange(CLASSES, dtype=np.int32), IMAGES)
        correct = (np.cumsum(random.random((60, len(classes))) < 0.02, axis=0) % 2 == 0).astype(np.int8)
        disturb(correct, classes)
        run = fake_run(iteration=np.arange(1000), correct=correct, validation_iteration=7 + 10 * np.arange(60))
        run.image_class = classes
        return run

    return build


def test_a_class_that_is_shaken_is_named_with_its_numbers(recorded: Callable[..., Any]) -> None:
    def shake(correct: np.ndarray, classes: np.ndarray) -> None:
        members = np.flatnonzero(classes == 3)[:15]
        correct[40:, members] = 1 - correct[39, members]

    run = recorded(shake)
    found = [one for one in ClassFlips().find(run) if one.start == 407]
    assert [(one.entity, one.index, one.stop) for one in found] == [("class3", 3, 417)]
    assert found[0].message.startswith("15 of 40 images of class class3 flipped at once (")
    assert found[0].score > 1
    assert ClassFlips().find(run, (407, 410))[0].stop == 410
    assert ClassFlips().find(run, (0, 400)) == []


def test_what_shakes_all_classes_is_one_alarm_and_none_of_a_class(recorded: Callable[..., Any]) -> None:
    def shake(correct: np.ndarray, classes: np.ndarray) -> None:
        members = np.random.default_rng(2).permutation(len(classes))[:70]
        correct[40:, members] = 1 - correct[39, members]

    run = recorded(shake)
    (found,) = ValidationFlips().find(run)
    assert (found.entity, found.start) == ("validation", 407)
    assert ClassFlips().find(run) == []


def test_a_growing_run_counts_on_with_the_same_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = planted.write_planted(tmp_path / "run", iterations=700)
    growing = open_run(tmp_path / "run")
    before = growing.flip_counts()
    monkeypatch.setattr(images, "_CELLS", 100)
    planted.extend_planted(writer, 700, planted.ITERATIONS)
    writer.close()
    growing.refresh()
    whole = open_run(tmp_path / "run").flip_counts()
    for name in ("iteration", "flipped", "forgotten", "judged", "last"):
        np.testing.assert_array_equal(getattr(growing.flip_counts(), name), getattr(whole, name))
    assert 0 < len(before.iteration) < len(whole.iteration)
    assert whole.flipped.sum() > 0


def test_a_run_without_validations_has_none(fake_run: Callable[..., Any]) -> None:
    run = fake_run(iteration=np.arange(10))
    assert ClassFlips().find(run) == []
    assert ValidationFlips().find(run) == []
