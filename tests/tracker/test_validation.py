"""Validation results against plain numpy, image by image; thumbnails; and what may be odd about a validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import is_missing
from deeptracker.tracker import validation_log
from deeptracker.tracker.thumbnails import thumbnail_size, thumbnails
from deeptracker.tracker.validation import judge
from tests.tracker.networks import small, train


def judged_slowly(logits: np.ndarray, target: int) -> tuple[int, float, int]:
    """Return predicted class, probability and rank of one image: by sorting, and by the definition of softmax."""
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    order = sorted(range(len(logits)), key=lambda one: (-logits[one], one))
    return order[0], shifted[target] / shifted.sum(), order.index(target)


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 7)), elements=st.floats(-9, 9, width=16)),
    st.integers(0, 1000),
)
def test_results_agree_with_their_definition_also_for_ties(logits, seed):
    targets = np.random.default_rng(seed).integers(logits.shape[1], size=len(logits))
    found = judge(torch.tensor(logits), torch.tensor(targets))
    for row, target in enumerate(targets):
        predicted, probability, rank = judged_slowly(logits[row], target)
        assert (found.predicted[row], found.rank[row]) == (predicted, rank)
        np.testing.assert_allclose(found.probability[row], probability, rtol=1e-5)
    np.testing.assert_array_equal(found.predicted, logits.argmax(1))
    np.testing.assert_array_equal(found.rank == 0, found.predicted == targets)


def test_a_network_of_nan_is_recorded_as_such():
    found = judge(torch.tensor([[torch.nan] * 3, [1.0, torch.nan, 2.0]]), torch.tensor([2, 1]))
    assert np.isnan(found.probability).all()
    assert not is_missing(found.probability).any()
    np.testing.assert_array_equal(found.predicted, [0, 2])
    np.testing.assert_array_equal(found.rank, [2, 2])


def recorder_of(tmp_path, **options) -> tuple[Recorder, torch.nn.Module, torch.optim.Optimizer]:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recorder(tmp_path / "run", model, optimizer, **options), model, optimizer


def test_images_may_come_in_any_order_go_missing_come_twice_and_be_new(tmp_path):
    recorder, model, optimizer = recorder_of(tmp_path, classes="abc")
    logits = torch.eye(3) * 4
    with recorder:
        with recorder.validation() as validation:
            validation.log(["x", "y"], logits=logits[:2], targets=[0, 2])
            validation.log(torch.tensor([7]), logits=logits[2:], targets=torch.tensor([2]))
        train(model, optimizer, 1)
        with recorder.validation() as validation:
            validation.log(["7", "z"], logits=logits[:2], targets=[2, 1])
            validation.log(["7"], logits=logits[2:], targets=[2])
    run = open_run(tmp_path / "run")
    results = run.validation_results()
    by_id = {name: results.predicted[:, column].tolist() for column, name in enumerate(results.image)}
    assert by_id == {"x": [0, -1], "y": [1, -1], "7": [2, 2], "z": [-1, 1]}
    np.testing.assert_array_equal(run.validation.iteration, [0, 1])
    assert run.class_names == ["a", "b", "c"]
    noted = [note for note in run.notes if note["key"] == "validation"]
    assert [(note["missing"], note["new"], note["repeated"]) for note in noted] == [(2, 1, 1)]


def test_a_validation_that_fails_or_sees_nothing_leaves_no_trace(tmp_path):
    recorder, _, _ = recorder_of(tmp_path)
    with recorder:
        failing = recorder.validation()
        failing.__enter__().log(["x"], logits=torch.eye(3)[:1], targets=[0])
        failing.__exit__(KeyError, KeyError(), None)
        with recorder.validation():
            pass
        with recorder.validation() as validation:
            validation.log(["x"], logits=torch.eye(3)[:1], targets=[0])
    assert open_run(tmp_path / "run").validation.sizes["validation"] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"logits": torch.zeros(2, 3), "targets": [0]}, "got 1 ids"),
        ({"logits": torch.zeros(3), "targets": [0]}, "got 1 ids"),
        ({"logits": torch.zeros(1, 3), "targets": [0, 1]}, "got 1 ids"),
        ({"logits": torch.zeros(1, 4), "targets": [0]}, "4 columns"),
        ({"logits": torch.zeros(1, 3), "targets": [3]}, "targets go from 3"),
        ({"logits": torch.zeros(1, 3), "targets": [-100]}, "targets go from -100"),
        ({"logits": torch.zeros(1, 3), "targets": torch.zeros(1)}, "dtype torch.float32"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": torch.zeros(2, 1, 8, 8)}, "images has shape"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": torch.zeros(1, 4, 8, 8)}, "images has shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, given, message):
    recorder, _, _ = recorder_of(tmp_path, classes="abc")
    with recorder, pytest.raises(RecordingError, match=message), recorder.validation() as validation:
        validation.log(["x"], **given)


def test_thumbnails_are_kept_once_and_look_like_the_images(tmp_path):
    recorder, model, optimizer = recorder_of(tmp_path)
    images = torch.linspace(0, 1, 2 * 8 * 8).reshape(2, 1, 8, 8)
    with recorder:
        for scale in (1.0, 0.0):
            with recorder.validation() as validation:
                validation.log(["x", "y"], logits=torch.eye(3)[:2], targets=[0, 1], images=scale * images)
            train(model, optimizer, 1)
    run = open_run(tmp_path / "run")
    for number in range(2):
        picture = run.thumbnail(list(run.images.id.values).index("xy"[number]))
        expected = np.rint(255 * images[number, 0].numpy())
        for channel in range(3):
            np.testing.assert_allclose(picture[:, :, channel], expected, atol=0.5)


def test_thumbnails_of_any_input_fit_in_64_pixels():
    assert thumbnail_size(224, 224) == (64, 64)
    assert thumbnail_size(100, 400) == (16, 64)
    assert thumbnail_size(8, 8) == (8, 8)
    normalised = torch.randn(3, 128, 96)
    made = thumbnails([normalised, torch.full((64, 48), 7, dtype=torch.uint8)], (64, 48))
    assert made.shape == (2, 64, 48, 3)
    assert made.dtype == np.uint8
    assert (made[1] == 7).all()
    assert made[0].std() > 10


def test_thumbnails_that_do_not_fit_the_budget_are_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(validation_log, "MOST_BYTES", 3 * 8 * 8 * 3)
    recorder, _, _ = recorder_of(tmp_path)
    with recorder, recorder.validation() as validation:
        validation.log(range(5), logits=torch.zeros(5, 3), targets=[0] * 5, images=torch.zeros(5, 8, 8))
    run = open_run(tmp_path / "run")
    assert sum(run.thumbnail(image) is not None for image in range(5)) == 3
    assert [note["images"] for note in run.notes if note["key"] == "no room for thumbnails"] == [2]
