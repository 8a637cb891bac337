"""Validations through the recorder as in practice: over several data loaders, and with labels set right later."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from deeptracker import Recorder, open_run
from tests.tracker.networks import small, train


def part(first: int, count: int) -> TensorDataset:
    """Return images with the numbers [first, first + count) and classes that follow from the numbers."""
    ids = torch.arange(first, first + count)
    images = torch.stack([torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(one)) for one in ids.tolist()])
    return TensorDataset(ids, images, ids % 3)


def record(path, loaders, validations=3):
    """Train and validate over all loaders in one block; return what the network itself said, image by image."""
    torch.manual_seed(0)
    model, said = small(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with Recorder(path, model, optimizer, classes="abc") as recorder:
        for _ in range(validations):
            model.eval()
            answers = {}
            with torch.no_grad(), recorder.validation() as validation:
                for loader in loaders:
                    for ids, x, y in loader:
                        logits = model(x)
                        validation.log(ids, logits=logits, targets=y)
                        answers |= {str(int(one)): row for one, row in zip(ids, logits.softmax(1), strict=True)}
            said.append(answers)
            model.train()
            torch.manual_seed(len(said))  # whatever the loaders have drawn
            train(model, optimizer, 4)
    return said


def answers_of(run) -> dict[str, list[tuple[int, float, int]]]:
    results = run.validation_results()
    columns = zip(results.image, results.predicted.T, results.probability.T, results.rank.T, strict=True)
    return {name: list(zip(*(one.tolist() for one in three), strict=True)) for name, *three in columns}


def test_several_loaders_of_one_validation_are_one_set_of_images(tmp_path):
    parts = [part(0, 7), part(100, 10), part(50, 1)]
    loaders = [DataLoader(one, batch_size=size, shuffle=True) for one, size in zip(parts, (2, 4, 8), strict=True)]
    said = record(tmp_path / "several", loaders)
    record(tmp_path / "one", [DataLoader(ConcatDataset(parts), batch_size=18)])
    several, one = open_run(tmp_path / "several"), open_run(tmp_path / "one")
    found = answers_of(several)
    assert found.keys() == said[0].keys() == {str(int(number)) for each in parts for number in each.tensors[0]}
    for name, answers in found.items():
        for (predicted, probability, rank), of_all in zip(answers, [each[name] for each in said], strict=True):
            assert predicted == int(of_all.argmax())
            assert probability == pytest.approx(float(of_all[int(name) % 3]), rel=1e-4)
            assert rank == int((of_all > of_all[int(name) % 3]).sum())
    for name, answers in answers_of(one).items():
        np.testing.assert_allclose(answers, found[name], rtol=1e-4)
    for run in (several, one):
        assert run.remarks == []
    errors = [run.query("error", family="validation")["mean"].values for run in (several, one)]
    np.testing.assert_array_equal(*errors)
    wrong = [sum(int(row.argmax()) != int(name) % 3 for name, row in answers.items()) for answers in said]
    np.testing.assert_allclose(errors[0], np.array(wrong) / 18, rtol=1e-6)


def test_loaders_that_each_number_their_images_from_0_are_told_apart_by_the_warning(tmp_path):
    loaders = [DataLoader(part(0, 5), batch_size=2), DataLoader(part(0, 3), batch_size=3)]
    with pytest.warns(RuntimeWarning, match="3 images came twice .* also across data loaders"):
        record(tmp_path / "run", loaders)
    run = open_run(tmp_path / "run")
    assert run.validation.sizes["image"] == 5
    assert [note["repeated"] for note in run.notes if note["key"] == "validation"] == [3, 3, 3]


def test_loaders_that_are_validated_in_turn_count_only_what_they_saw(tmp_path):
    model, logits = small(), torch.eye(3) * 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    daily, weekly = (["d0", "d1"], logits[[0, 0]], [0, 1]), (["w0", "w1", "w2"], logits[[0, 0, 0]], [0, 0, 2])
    with Recorder(tmp_path / "run", model, optimizer, classes="abc") as recorder:
        for turn in ([daily], [daily, weekly], [weekly], [daily]):
            with recorder.validation() as validation:
                for ids, answers, targets in turn:
                    validation.log(ids, logits=answers, targets=targets)
            train(model, optimizer, 1)
    run = open_run(tmp_path / "run")
    assert {name: [one[2] for one in of] for name, of in answers_of(run).items()} == {
        "d0": [0, 0, -1, 0],
        "d1": [1, 1, -1, 1],
        "w0": [-1, 0, 0, -1],
        "w1": [-1, 0, 0, -1],
        "w2": [-1, 2, 2, -1],
    }
    np.testing.assert_allclose(run.query("error", family="validation")["mean"], [1 / 2, 2 / 5, 1 / 3, 1 / 2], rtol=1e-6)
    of_c = run.query("error", classes=["c"])
    np.testing.assert_array_equal(of_c["count"].values[:, 0], [0, 1, 1, 0])
    assert run.query("error", classes=["b"])["count"].values[:, 0].tolist() == [1, 1, 0, 1]


def test_a_label_that_is_set_right_later_counts_from_then_on(tmp_path):
    model, logits = small(), torch.eye(3) * 5
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path, ids = tmp_path / "run", ["x", "y", "z"]
    labels = [[0, 0, 2], [0, 1, 2], [0, 1, 2], [2, 1, 2]]  # the network says 0, 1, 2 all the time

    def validate(recorder: Recorder, targets: list[int]) -> None:
        with recorder.validation() as validation:
            validation.log(ids, logits=logits, targets=targets)
        train(model, optimizer, 2)

    with Recorder(path, model, optimizer, classes="abc") as recorder:
        for targets in labels[:3]:
            validate(recorder, targets)
    with Recorder(path, model, optimizer, classes="abc", resume=True) as recorder:
        validate(recorder, labels[3])
    run = open_run(path)
    assert run.relabelled.to_numpy().tolist() == [["y", 2, "a", "b"], ["x", 6, "a", "c"]]
    results = run.validation_results()
    order = [list(results.image).index(name) for name in ids]
    np.testing.assert_array_equal(results.correct[:, order], [[1, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]])
    assert results.image_class[order].tolist() == labels[-1]
    np.testing.assert_allclose(results.probability[:, order][:, 1] > 0.5, [False, True, True, True])
    np.testing.assert_allclose(run.query("error", family="validation")["mean"], [1 / 3, 0, 0, 1 / 3], rtol=1e-6)
    of_class = {name: run.query("error", classes=[name]) for name in "abc"}
    counts = {name: found["count"].values[:, 0].tolist() for name, found in of_class.items()}
    assert counts == {"a": [1, 1, 1, 0], "b": [0, 1, 1, 1], "c": [1, 1, 1, 1]}
    np.testing.assert_allclose(of_class["a"]["mean"].values[:3, 0], [1 / 2, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(of_class["c"]["mean"].values[:, 0], [0, 0, 0, 1 / 2], rtol=1e-6)
    states = run.image_states(order, rows=3, buckets=4)["count"]
    assert int(states.sel(state="forgotten").sum()) == 1
    assert int(states.sel(state="learned").sum()) == 1
    assert run.remarks == ["resumed once", "2 validations with images that got another class, up to 1"]
