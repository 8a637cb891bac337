"""Validation results against plain numpy, image by image; and what may be odd about a validation."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deeptracker import Recorder, open_run
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import is_missing
from deeptracker.tracker.judge import judge
from tests.tracker.networks import small, train
from tests.tracker.processes import run_ranks


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


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_row_that_is_not_finite_is_judged_as_alone(odd, dtype):
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=random).to(dtype)
    targets = torch.arange(6) % 5
    plain = judge(logits, targets)
    logits[2, 1] = odd
    found = judge(logits, targets)
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(found.take(others).rank, plain.take(others).rank)
    np.testing.assert_array_equal(found.take(others).predicted, plain.take(others).predicted)
    np.testing.assert_allclose(found.take(others).probability, plain.take(others).probability, rtol=1e-6)
    np.testing.assert_array_equal(found.predicted == found.classes, found.rank == 0)


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
        validation = recorder.validation()
        validation.log(["7", "z"], logits=logits[:2], targets=[2, 1])
        validation.log(["7"], logits=logits[2:], targets=[2])
        with pytest.warns(RuntimeWarning, match="1 images came twice .* iteration 1, such as '7'"):
            validation.__exit__(None, None, None)
        train(model, optimizer, 1)
        with recorder.validation() as validation:
            validation.log(["x", "x"], logits=logits[:2], targets=[1, 1])
    run = open_run(tmp_path / "run")
    results = run.validation_results()
    by_id = {name: results.predicted[:, column].tolist() for column, name in enumerate(results.image)}
    assert by_id == {"x": [0, -1, 1], "y": [1, -1, -1], "7": [2, 2, -1], "z": [-1, 1, -1]}
    np.testing.assert_array_equal(run.validation.iteration, [0, 1, 2])
    assert run.class_names == ["a", "b", "c"]
    kinds = ("missing", "new", "repeated", "relabelled")
    noted = [tuple(note[kind] for kind in kinds) for note in run.notes if note["key"] == "validation"]
    assert noted == [(2, 1, 1, 0), (3, 0, 1, 1)]
    assert run.remarks == [
        "2 validations without images that were validated before, up to 3 of them",
        "2 validations with images that came twice, up to 1; the last result of each holds",
        "1 validation with new images, up to 1",
        "1 validation with images that got another class, up to 1",
    ]


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
        ({"logits": torch.zeros(1, 3, 2, 2), "targets": [0]}, "got 1 ids"),
        ({"logits": torch.zeros(1), "targets": [0]}, "single output"),
        ({"logits": torch.zeros(1, 1), "targets": [0]}, "single output"),
        ({"logits": torch.zeros(1, 3), "targets": torch.zeros(1, 3)}, r"targets\.argmax"),
        ({"logits": torch.zeros(1, 3), "targets": [0, 1]}, "got 1 ids"),
        ({"logits": torch.zeros(1, 4), "targets": [0]}, "4 columns"),
        ({"logits": torch.zeros(1, 3), "targets": [3]}, "targets go from 3"),
        ({"logits": torch.zeros(1, 3), "targets": [-100]}, "targets go from -100 .* without a class out"),
        ({"logits": torch.zeros(1, 3), "targets": torch.zeros(1)}, "dtype torch.float32"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": torch.zeros(2, 1, 8, 8)}, "images has shape"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": torch.zeros(1, 5, 8, 8)}, "images has shape"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": [torch.zeros(8, 8)] * 2}, "2 images were given"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": [torch.zeros(5, 8, 8)]}, "An image has shape"),
        ({"logits": torch.zeros(1, 3), "targets": [0], "images": [7]}, "An image is a int"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, given, message):
    recorder, _, _ = recorder_of(tmp_path, classes="abc")
    with recorder, pytest.raises(RecordingError, match=message), recorder.validation() as validation:
        validation.log(["x"], **given)


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (torch.tensor([3, 2**62]), ["3", str(2**62)]),
        (np.array([3, 4], np.uint8), ["3", "4"]),
        ([torch.tensor(3), np.int64(4)], ["3", "4"]),
        (("é/1", b"caf\xc3\xa9"), ["é/1", "café"]),
        (["\udcff.png", "x"], ["\\udcff.png", "x"]),
        (iter([1.5, None]), ["1.5", "None"]),
    ],
)
def test_ids_of_any_kind_become_text(tmp_path, ids, names):
    recorder, _, _ = recorder_of(tmp_path)
    with recorder, recorder.validation() as validation:
        validation.log(ids, logits=torch.eye(3)[:2], targets=[0, 1])
    assert open_run(tmp_path / "run").images.id.values.tolist() == names


@pytest.mark.parametrize("ids", ["xy", b"xy", 7, torch.zeros(1, 2), [[1], [2]], torch.tensor(4)])
def test_ids_that_are_none_are_refused(tmp_path, ids):
    recorder, _, _ = recorder_of(tmp_path)
    with recorder, pytest.raises(RecordingError, match=r"one id for each|for each image"), recorder.validation() as one:
        one.log(ids, logits=torch.eye(3)[:2], targets=[0, 1])


def test_one_image_and_an_empty_batch_are_a_validation(tmp_path):
    recorder, _, _ = recorder_of(tmp_path)
    with recorder, recorder.validation() as validation:
        validation.log([], logits=torch.zeros(0, 3), targets=[])
        validation.log([0], logits=torch.eye(3, requires_grad=True)[:1], targets=torch.tensor([0], dtype=torch.uint8))
    assert open_run(tmp_path / "run").validation.sizes == {"validation": 1, "image": 1}


def test_images_known_before_a_resume_are_missed_after_it(tmp_path):
    recorder, model, optimizer = recorder_of(tmp_path)
    with recorder, recorder.validation() as validation:
        validation.log(["x", "y", "z"], logits=torch.eye(3), targets=[0, 1, 2])
    with Recorder(tmp_path / "run", model, optimizer, resume=True) as recorder:
        train(model, optimizer, 1)
        with recorder.validation() as validation:
            validation.log(["x"], logits=torch.eye(3)[:1], targets=[0])
    noted = [note["missing"] for note in open_run(tmp_path / "run").notes if note["key"] == "validation"]
    assert noted == [2]


def shares(rank: int, path: Path) -> None:
    """Each rank validates its share; the last image is repeated on both, as a DistributedSampler pads."""
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mine = [["a", "b", "pad"], ["c", "d", "pad"]][rank]
    logits, targets = torch.eye(3), torch.tensor([0, 1, 2])
    with Recorder(path, model, optimizer) as recorder:
        with recorder.validation(gather=True) as validation:
            validation.log(mine, logits=logits, targets=targets, images=torch.full((3, 4, 4), rank / 2))
        optimizer.step()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                with recorder.validation() as validation:
                    validation.log(mine, logits=logits, targets=targets)
                optimizer.step()
        said = [str(one.message) for one in caught if "validated" in str(one.message)]
        assert [one[:30] for one in said] == ([] if rank == 0 else ["Rank 1 has validated 3 images,"])
        broken = recorder.validation(gather=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with broken:
                    broken.log(mine, logits=logits, targets=targets)
                    assert rank == 0, "rank 1 fails"
            except AssertionError:
                assert rank == 1
        assert (["failed on rank [1]" in str(one.message) for one in caught] == [True]) == (rank == 0)
        with recorder.validation(gather=True) as validation:
            if rank == 1:
                validation.log(mine, logits=logits, targets=targets)


def test_ranks_bring_their_shares_of_a_validation_together(tmp_path):
    run_ranks(shares, tmp_path, tmp_path / "run")
    run = open_run(tmp_path / "run")
    results = run.validation_results()
    by_id = {name: results.predicted[:, column].tolist() for column, name in enumerate(results.image)}
    assert by_id == {
        "a": [0, 0, 0, -1],
        "b": [1, 1, 1, -1],
        "c": [0, -1, -1, 0],
        "d": [1, -1, -1, 1],
        "pad": [2, 2, 2, 2],
    }
    np.testing.assert_array_equal(results.iteration, [0, 1, 2, 3])
    assert not any(note.get("repeated") for note in run.notes)
    pictures = {name: run.thumbnail(column) for column, name in enumerate(results.image)}
    assert [int(pictures[name][0, 0, 0]) for name in ("a", "pad", "c")] == [0, 0, 128]
