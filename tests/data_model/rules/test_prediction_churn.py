"""How far answers move between two validations, against a plain loop; and what is said of an unsteady network."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model.rules import prediction_churn
from deeptracker.data_model.rules.prediction_churn import PredictionChurn, churn
from deeptracker.data_model.run import open_run
from deeptracker.data_model.validation_watch import LEAST
from deeptracker.data_model.vocabulary import Description
from deeptracker.data_model.writer import RunWriter

IMAGES, EVERY = 40, 10


def record(path: Path, probability: np.ndarray, images: np.ndarray) -> None:
    """Record validations (validations, images), each of those images for which `images` is true."""
    writer = RunWriter.create(path, Description(classes=("cat", "dog"), synthetic=True), [], [], [])
    for number, (row, there) in enumerate(zip(probability, images, strict=True)):
        at = (number + 1) * EVERY
        writer.append_scalars(np.arange(at - EVERY, at), {"loss": np.ones(EVERY)})
        ids = [f"image{one}" for one in np.flatnonzero(there)]
        truth = (np.flatnonzero(there) % 2).astype(np.int32)
        wrong = row[there] < 0.5
        predicted = np.where(wrong, 1 - truth, truth).astype(np.int32)
        writer.append_validation(at - 1, ids, truth, predicted, row[there].astype(np.float32), wrong.astype(np.int32))
    writer.close()


def answers(random: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """Return probabilities (validations, images) about a level of each image, with `noise` in every validation."""
    odds = random.normal(1, 1, IMAGES) + noise[:, None] * random.normal(size=(len(noise), IMAGES))
    return np.asarray(1 / (1 + np.exp(-odds)))


def plainly(before: np.ndarray, after: np.ndarray) -> float:
    """Return the churn of the images that are in both."""
    moves = []
    for one, other in zip(before.astype(np.float32).tolist(), after.astype(np.float32).tolist(), strict=True):
        if math.isfinite(one) and math.isfinite(other):
            odds = [math.log((value + LEAST) / (1 + LEAST - value)) for value in (one, other)]
            moves.append(abs(odds[1] - odds[0]))
    return math.log(sum(moves) / len(moves))


@pytest.mark.parametrize("at_once", [1, 3, 64])
@pytest.mark.parametrize("since", [0, 35, 10**6])
def test_churn_is_that_of_a_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, since: int
) -> None:
    monkeypatch.setattr(prediction_churn, "AT_ONCE", at_once)
    random = np.random.default_rng(0)
    probability = answers(random, np.full(8, 0.3))
    there = random.random(probability.shape) < 0.9
    there[0] = True
    record(tmp_path / "run", probability, there)
    start, stop, found = churn(open_run(tmp_path / "run"), since)
    known = np.where(there, probability, np.nan)
    expected = [math.nan, *(plainly(*pair) for pair in pairwise(known))]
    wanted = [number for number in range(8) if (number + 1) * EVERY - 1 >= since]
    assert start.tolist() == [(number + 1) * EVERY - 1 for number in wanted]
    assert stop.tolist() == [number + 1 for number in start.tolist()]
    np.testing.assert_allclose(found[:, 0], np.array([expected[number] for number in wanted]), rtol=1e-5)


def test_a_network_that_gets_unsteady_is_found_where_it_does_and_a_steady_one_is_not(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    noise = np.full(120, 0.2)
    record(tmp_path / "steady", answers(random, noise), np.ones((120, IMAGES), bool))
    noise[70:] = 0.5
    record(tmp_path / "unsteady", answers(random, noise), np.ones((120, IMAGES), bool))
    assert PredictionChurn().find(open_run(tmp_path / "steady")) == []
    first, *_ = PredictionChurn().find(open_run(tmp_path / "unsteady"))
    assert 70 * EVERY < first.start <= 76 * EVERY
    assert first.entity == "validation"
    assert "what moves in the answers between two validations rose" in first.message
