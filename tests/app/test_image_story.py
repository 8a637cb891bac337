"""What is told of images: stretches of answers, shares of events and outliers agree with slow twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeptracker.app.event_counts import event_shares, outlier_counts
from deeptracker.app.image_story import answers, sentences
from deeptracker.data_model.image_events import event_counts
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import EVENTS
from tests import planted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path: Path = tmp_path_factory.mktemp("story") / "planted"
    planted.write_planted(path).close()
    return open_run(path)


def results(predicted: list[int], true: int = 0) -> ValidationResults:
    """Return the results of one image at every tenth iteration; -1 where it was not validated."""
    taken = np.array(predicted, np.int32)[:, None]
    rank = np.where(taken < 0, -1, np.where(taken == true, 0, 1)).astype(np.int32)
    probability = np.where(taken < 0, np.nan, 0.5).astype(np.float32)
    iteration = np.arange(len(predicted), dtype=np.int64) * 10
    return ValidationResults(iteration, np.array(["one"]), np.array([true], np.int32), taken, probability, rank)


def test_stretches_of_equal_answers() -> None:
    found = answers(results([2, 2, 0, 0, 0, -1, 0, 3]))
    assert found.predicted.tolist() == [2, 0, 0, 3]
    assert found.start.tolist() == [0, 20, 60, 70]
    assert found.stop.tolist() == [20, 50, 70, 80]
    assert found.right.tolist() == [False, True, True, False]
    assert found.count.tolist() == [2, 3, 1, 1]
    assert answers(results([])).start.tolist() == []
    assert answers(results([-1, -1])).start.tolist() == []


def test_stretches_cover_every_answer_once() -> None:
    random = np.random.default_rng(2)
    for _ in range(50):
        taken = random.integers(-1, 3, int(random.integers(1, 40))).tolist()
        found = answers(results(taken))
        known = [one for one in taken if one >= 0]
        assert np.repeat(found.predicted, found.count).tolist() == known
        for first, one in zip(found.start, found.predicted, strict=True):
            assert taken[first // 10] == one


def test_shares_of_events_agree_with_those_counted_from_the_answers(run: Run) -> None:
    found = event_shares(run, run.iterations, 10_000)
    counted = event_counts(run.validation_results().correct)
    assert found.start.tolist() == run.validation["iteration"].values.tolist()
    images = len(planted.CLASSES) * planted.IMAGES
    assert np.allclose(found.share[:, 1:].T, counted[1:] / images)
    assert np.allclose(found.share.sum(axis=0), 1)
    coarse = event_shares(run, run.iterations, 10)
    assert 10 <= coarse.share.shape[1] < 100
    assert coarse.images.sum() == found.images.sum() == images * len(found.start)
    flips = [EVENTS.index(name) for name in ("n-y", "y-n")]
    assert np.isclose((coarse.share[flips] * coarse.images).sum(), counted[:, flips].sum())


def test_outliers_are_counted_in_the_bins_they_begin_in(run: Run) -> None:
    table = run.anomalies()
    edges = np.arange(0, planted.ITERATIONS + 1, 50)
    found = outlier_counts(table, edges)
    for side, rule in (("left", "left_flip"), ("right", "right_flip")):
        mine = table[table["rule"] == rule]
        assert found[side].sum() == len(mine) > 0
        assert found[side][int(mine["start"].iloc[0]) // 50] > 0


def test_an_image_is_told_of_in_numbers(run: Run) -> None:
    table, anomalies = run.image_insight(), run.anomalies()
    for number in range(len(table)):
        row = table.iloc[number]
        mine = anomalies[(anomalies["kind"] == "image") & (anomalies["entity"] == row["id"])]
        told = " ".join(sentences(row, row["class"], mine))
        assert f"Class {row['class']}." in told
        assert ("Never right" in told) == bool(row["never_learned"])
        assert ("Forgotten" in told) == (row["forgotten"] > 0)
        assert f"Confidence {row['confidence']:.2f}" in told
        assert ("Outlier" in told) == (len(mine) > 0)
