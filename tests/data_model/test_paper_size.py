"""The synthetic run of the paper's size: its counts, that it is repeatable, and that what is said to be in it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model.run import Run, open_run
from tests.paper_size import CHUNK, Size, filters_of, planted, resnet50, write_paper_size

SIZE = Size(iterations=CHUNK + 176, filters_every=8, validations=40, seed=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("paper") / "run"
    write_paper_size(path, SIZE).close()
    return open_run(path)


def test_it_has_the_papers_counts(run: Run) -> None:
    assert (len(run.layer_list), len(run.filter_layer), len(run.class_names)) == (161, 26_560, 1000)
    assert run.images.sizes["image"] == 50_000
    assert (run.iterations, run.state, run.description.synthetic) == ((0, SIZE.iterations), "closed", True)
    assert run.validation.sizes["validation"] == 40
    assert run.filters.sizes["iteration"] == SIZE.iterations / 8
    assert resnet50()[-2].name == "fc"


def test_scalars_and_layers_hold_what_was_planted(run: Run) -> None:
    truth = planted(SIZE)
    loss = run.scalars["loss"].values
    assert int(np.argmax(loss[1:] / loss[:-1])) + 1 == truth["loss_spike"]
    rate = run.scalars["learning_rate"].values
    assert (np.flatnonzero(np.diff(rate) < 0) + 1).tolist() == truth["learning_rate_drops"]
    names = [layer.name for layer in run.layer_list]
    nonfinite = run.layers["gradient_nonfinite"].values
    where, layer = np.nonzero(nonfinite)
    assert {names[one] for one in layer} == {truth["nan"]["layer"]}
    assert (where.min(), where.max() + 1) == tuple(truth["nan"]["span"])
    gradient = run.layers["gradient_l2"].isel(layer=names.index(truth["exploding"]["layer"])).values
    first, stop = truth["exploding"]["span"]
    assert gradient[first:stop].min() > 20 * np.delete(gradient, np.arange(first, stop)).max()


def test_filters_die_and_jump_as_planted(run: Run) -> None:
    truth, change = planted(SIZE), run.filters["relative_change_l2"].values
    at = run.filters["iteration"].values
    dead = truth["dead_filters"]
    assert np.flatnonzero((change[at >= dead["from"]] == 0).all(axis=0)).tolist() == dead["filters"]
    for link in truth["links"]:
        place = filters_of(link["layer"])
        assert all(place.start <= number < place.stop for number in link["filters"])
        level = np.median(change[:, place], axis=1, keepdims=True)
        loud = np.flatnonzero((change[:, place] > 10 * level).any(axis=1))
        before = np.array(link["validations"])[:, None] - at[loud]
        assert len(loud) == len(link["validations"])
        assert ((before >= 0) & (before < 8)).any(axis=1).all(), "a jump right before each of its validations"


def test_images_flip_as_planted(run: Run) -> None:
    truth, results = planted(SIZE), run.validation_results()
    right, classes = results.right, run.images["class"].values
    forgotten = truth["forgotten_class"]
    during = (results.iteration >= forgotten["span"][0]) & (results.iteration < forgotten["span"][1])
    members = classes == forgotten["class"]
    assert during.any()
    assert not right[during][:, members].any()
    assert right[-1, members].mean() > 0.4
    assert not right[:, truth["never_learned"]].any()
    for link in truth["links"]:
        flips = (np.diff(right[:, classes == link["class"]].astype(int), axis=0) != 0).any(axis=1)
        assert results.iteration[1:][flips].tolist() == link["validations"]
    assert 0.02 < right[0].mean() < right[-1].mean() < 0.9


def test_the_same_seed_makes_the_same_run(run: Run, tmp_path: Path) -> None:
    small = Size(iterations=64, filters_every=16, validations=2, seed=3, classes=1000, images=2)
    for name in ("one", "two"):
        write_paper_size(tmp_path / name, small).close()
    one, two = (open_run(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_array_equal(one.layers["gradient_l2"].values, two.layers["gradient_l2"].values)
    np.testing.assert_array_equal(one.filters["relative_change_l2"].values, two.filters["relative_change_l2"].values)
    np.testing.assert_array_equal(one.validation["probability"].values, two.validation["probability"].values)
