"""Image events against a plain loop over one image at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from deeptracker.data_model.image_events import (
    data_map,
    event_counts,
    events,
    first_learned,
    flips,
    forgetting_counts,
    never_learned,
)
from deeptracker.data_model.vocabulary import EVENTS

answers = arrays(
    np.int8,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([-1, 0, 1]),
)


def slow_events(correct: np.ndarray) -> np.ndarray:
    codes = np.full(correct.shape, -1)
    for image in range(correct.shape[1]):
        last = None
        for validation in range(correct.shape[0]):
            now = correct[validation, image]
            if now < 0:
                continue
            if last is not None:
                name = f"{'y' if last else 'n'}-{'y' if now else 'n'}"
                codes[validation, image] = EVENTS.index(name)
            last = now
    return codes


def slow_flips(correct: np.ndarray) -> set[tuple[int, int, bool, int, int]]:
    found = set()
    for image in range(correct.shape[1]):
        known = [(v, int(a)) for v, a in enumerate(correct[:, image]) if a >= 0]
        for place in range(1, len(known)):
            if known[place][1] == known[place - 1][1]:
                continue
            before = after = 0
            while place - 1 - before >= 0 and known[place - 1 - before][1] == known[place - 1][1]:
                before += 1
            while place + after < len(known) and known[place + after][1] == known[place][1]:
                after += 1
            found.add((known[place][0], image, known[place][1] == 1, before, after))
    return found


@given(answers)
def test_events_are_those_of_a_plain_loop(correct: np.ndarray) -> None:
    expected = slow_events(correct)
    assert np.array_equal(events(correct), expected)
    assert np.array_equal(event_counts(correct), [[(row == code).sum() for code in range(4)] for row in expected])
    assert np.array_equal(forgetting_counts(correct), (expected == EVENTS.index("y-n")).sum(axis=0))


@given(answers)
def test_flips_and_their_stretches_are_those_of_a_plain_loop(correct: np.ndarray) -> None:
    found = flips(correct)
    rows = zip(found.validation, found.image, found.learned, found.before, found.after, strict=True)
    listed = [(int(v), int(i), bool(learned), int(b), int(a)) for v, i, learned, b, a in rows]
    assert len(set(listed)) == len(listed)
    assert set(listed) == slow_flips(correct)
    assert [row[:2] for row in listed] == sorted(row[:2] for row in listed)


@given(answers, st.integers(1, 4))
def test_flips_seen_so_far_do_not_change_when_the_run_grows(correct: np.ndarray, stable: int) -> None:
    whole, part = flips(correct), flips(correct[: len(correct) // 2])
    inside = whole.validation < len(correct) // 2
    assert np.array_equal(whole.left(stable)[inside], part.left(stable))
    assert not (part.right(stable) & ~whole.right(stable)[inside]).any()


@given(answers)
def test_learning_is_that_of_a_plain_loop(correct: np.ndarray) -> None:
    for image in range(correct.shape[1]):
        right = [v for v in range(len(correct)) if correct[v, image] == 1]
        seen = (correct[:, image] >= 0).any()
        assert first_learned(correct)[image] == (right[0] if right else -1)
        assert never_learned(correct)[image] == (seen and not right)


def test_a_missing_validation_does_not_break_a_stretch() -> None:
    correct = np.array([[1], [1], [-1], [1], [0]], np.int8)
    found = flips(correct)
    assert (found.before.tolist(), found.after.tolist()) == ([3], [1])


def test_data_map_is_mean_spread_and_share() -> None:
    probability = np.array([[0.2, np.nan, 0.5], [0.6, 0.4, 0.5]])
    correct = np.array([[0, -1, -1], [1, 0, -1]], np.int8)
    place = data_map(probability, correct)
    np.testing.assert_allclose(place.confidence, [0.4, 0.4, np.nan])
    np.testing.assert_allclose(place.variability, [0.2, 0.0, np.nan], atol=1e-12)
    np.testing.assert_allclose(place.correctness, [0.5, 0.0, np.nan])


def test_no_validation_at_all() -> None:
    nothing = np.empty((0, 3), np.int8)
    assert len(flips(nothing).image) == 0
    assert first_learned(nothing).tolist() == [-1, -1, -1]
    assert event_counts(nothing).shape == (0, 4)
