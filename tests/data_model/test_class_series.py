"""Error, loss and probability per class against the definition, class by class: live, resumed, cut and closed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.data_model.class_series import class_means
from deeptracker.data_model.missing import is_missing
from deeptracker.data_model.relabelling import classes_at
from deeptracker.data_model.run import open_run
from tests.data_model.validations import Validated, check_classes, perform, steps

CLASSES = 4


def test_class_means_follow_their_definition() -> None:
    random = np.random.default_rng(0)
    image_class = random.integers(0, CLASSES - 1, 50).astype(np.int32)  # the last class has no image
    seen, right = random.random(50) < 0.8, random.random(50) < 0.5
    probability = random.random(50).astype(np.float32)
    probability[0], seen[0] = 0, True
    found = class_means(seen, right, probability, image_class, CLASSES)
    assert (found.shape, found.dtype) == ((3, 1 + CLASSES), np.float32)
    for number in range(-1, CLASSES - 1):
        member = seen & ((image_class == number) | (number < 0))
        chance = np.maximum(probability[member].astype(np.float64), 1e-12)
        expected = [np.mean(~right[member]), np.mean(-np.log(chance)), np.mean(probability[member])]
        np.testing.assert_allclose(found[:, 1 + number], expected, rtol=1e-5)
    assert is_missing(found[:, CLASSES]).all()


def test_a_probability_that_is_no_number_was_recorded_all_the_same() -> None:
    chance = np.array([0.5, np.nan], np.float32)
    found = class_means(np.ones(2, bool), np.ones(2, bool), chance, np.array([0, 1]), 2)
    np.testing.assert_array_equal(found[0], [0, 0, 0])
    np.testing.assert_array_equal(np.isnan(found[2]), [True, False, True])
    assert not is_missing(found).any()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=12), st.integers(0, 14))
def test_an_images_class_of_any_time_follows_from_the_changes(changes: list[tuple[int, int]], at: int) -> None:
    classes, history, table = np.zeros(6, np.int32), [np.zeros(6, np.int32)], []
    for iteration, (image, after) in enumerate(changes, 1):
        table.append([image, iteration, classes[image], after])
        classes[image] = after
        history.append(classes.copy())
    events = np.array(table, np.int64).reshape(-1, 4)
    np.testing.assert_array_equal(classes_at(classes, events, at), history[min(at, len(changes))])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.lists(steps, max_size=5), st.integers(0, 2**31))
def test_series_of_a_run_are_what_they_should_whatever_happened(
    images: int, plan: list[tuple[str, int]], seed: int
) -> None:
    path = Path(tempfile.mkdtemp())
    try:
        validated = Validated.create(path / "run", seed, images)
        validated.validate(1)
        for step in plan:
            perform(validated, *step)
        validated.writer.commit()
        check_classes(open_run(path / "run"), validated)
        validated.writer.close()
        check_classes(open_run(path / "run"), validated)
    finally:
        shutil.rmtree(path)
