"""The table of images against a plain loop over one image at a time, and through a run, in portions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptracker.data_model import images
from deeptracker.data_model.image_insight import COLUMNS, image_insight, ranked
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.validation_results import ValidationResults
from tests import planted

NAMES = ["cat", "dog", "owl"]
STABLE = 2


def made(validations: int, count: int, seed: int) -> ValidationResults:
    """Synthetic results, a third of them missing; class 3 is predicted and nobody's."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, count).astype(np.int32)
    predicted = random.choice([0, 1, 2, 3, -1, -1], (validations, count)).astype(np.int32)
    probability = np.where(predicted < 0, np.nan, random.random((validations, count))).astype(np.float32)
    rank = np.where(predicted < 0, -1, np.where(predicted == truth, 0, 1)).astype(np.int32)
    ids = np.array([f"image{number}" for number in range(count)], object)
    return ValidationResults(np.arange(validations) * 10 + 5, ids, truth, predicted, probability, rank)


def most(evidence: Counter[int]) -> int | None:
    return min(evidence, key=lambda name: (-evidence[name], name)) if evidence else None


def slow(results: ValidationResults, image: int) -> dict[str, Any]:
    """The row of one image, written as one reads the definitions."""
    total = len(results.iteration)
    seen = [v for v in range(total) if results.predicted[v, image] >= 0]
    right = [bool(results.rank[v, image] == 0) for v in seen]
    p = [float(results.probability[v, image]) for v in seen]
    flips = [n for n in range(1, len(seen)) if right[n] != right[n - 1]]

    def stretch(n: int, step: int) -> int:
        length = 1
        while 0 <= n + step < len(right) and right[n + step] == right[n]:
            n, length = n + step, length + 1
        return length

    wrong = [n for n in range(len(seen)) if not right[n]]
    counted = Counter(int(results.predicted[seen[n], image]) for n in wrong)
    late: Counter[int] = Counter()
    for n in wrong:
        if seen[n] >= total // 2:
            late[int(results.predicted[seen[n], image])] += 1 - p[n]
    instead, suspect = most(counted), most(late)
    names = [*NAMES, "3"]
    mean = float(np.mean(p)) if seen else np.nan
    latest = [v for v in seen if v >= total // 2]
    return {
        "id": f"image{image}",
        "class": NAMES[results.image_class[image]],
        "validations": len(seen),
        "first_learned": int(results.iteration[seen[right.index(True)]]) if any(right) else pd.NA,
        "never_learned": bool(seen) and not any(right),
        "unforgettable": any(right) and not any(right[n - 1] and not right[n] for n in flips),
        "learned": sum(right[n] for n in flips),
        "forgotten": sum(not right[n] for n in flips),
        "left": sum(stretch(n - 1, -1) >= STABLE for n in flips),
        "right": sum(stretch(n, 1) >= STABLE for n in flips),
        "right_at_last": right[-1] if seen else pd.NA,
        "confidence": mean,
        "variability": float(np.std(p)) if seen else np.nan,
        "correctness": float(np.mean(right)) if seen else np.nan,
        "closeness": mean * (1 - mean),
        "taken_for": "" if instead is None else names[instead],
        "taken_for_share": counted[instead] / len(seen) if instead is not None else 0 if seen else np.nan,
        "taken_for_bound": np.nan
        if instead is None
        else np.mean([1 - p[n] for n in wrong if results.predicted[seen[n], image] == instead]),
        "mislabelled_as": "" if suspect is None else names[suspect],
        "mislabelled": (late[suspect] if suspect is not None else 0) / len(latest) if latest else np.nan,
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 14), st.integers(1, 6), st.integers(0, 10_000), st.integers(1, 3))
def test_every_row_is_that_of_a_plain_loop(validations: int, count: int, seed: int, portion: int) -> None:
    results = made(validations, count, seed)
    parts = []
    for first in range(0, count, portion):
        some = np.arange(first, min(first + portion, count))
        columns = [results.predicted[:, some], results.probability[:, some], results.rank[:, some]]
        ids, truth = results.image[some], results.image_class[some]
        parts.append((some, ValidationResults(results.iteration, ids, truth, *columns)))
    found = image_insight(parts, NAMES, STABLE)
    expected = pd.DataFrame([slow(results, image) for image in range(count)], dtype=object)
    expected = expected.astype({name: dtype for name, (dtype, _) in COLUMNS.items()}).rename_axis("image")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path: Path = tmp_path_factory.mktemp("runs") / "planted"
    planted.write_planted(path).close()
    return open_run(path)


def test_a_run_is_read_in_portions_with_the_same_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run.image_insight()
    assert len(whole) == planted.IMAGES * len(planted.CLASSES)
    monkeypatch.setattr(images, "_CELLS", 1)
    some = run.image_insight(images=[40, 3, 17])
    pd.testing.assert_frame_equal(some, whole.loc[[3, 17, 40]])
    results = run.validation_results()
    np.testing.assert_allclose(whole["correctness"], results.right.mean(axis=0))
    assert (whole.loc[whole["class"] == "cat", "forgotten"] == 0).all()
    assert (whole.loc[whole["class"] == "dog", "forgotten"] > 0).all()
    picture = run.thumbnail(int(run.image_insight(rank="forgotten").index[0]))
    assert picture is not None


def test_rankings_hold_what_they_say(run: Run) -> None:
    table = run.image_insight()
    never = run.image_insight(rank="never_learned")
    assert set(never.index) == set(table.index[(table["correctness"] == 0)])
    assert never["confidence"].is_monotonic_increasing
    worst = run.image_insight(rank="forgotten", most=5)
    assert len(worst) == 5
    assert worst["forgotten"].tolist() == sorted(table["forgotten"], reverse=True)[:5]
    with pytest.raises(ValueError, match="nothing"):
        ranked(table, "nothing")


def test_a_wrong_label_ranks_above_a_hard_image_and_above_early_confusion() -> None:
    """Image 0 bears another's label; image 1 is taken for everything in turn; image 2 was wrong early only."""
    validations = 40
    predicted = np.zeros((validations, 4), np.int32)
    predicted[:, 0] = 2
    predicted[:, 1] = 1 + np.arange(validations) % 3
    predicted[:15, 2] = 2
    probability = np.array([0.02, 0.2, 0.9, 0.9], np.float32) * np.ones((validations, 1), np.float32)
    rank = np.where(predicted == 0, 0, 1).astype(np.int32)
    ids = np.array(list("abcd"), object)
    results = ValidationResults(np.arange(validations), ids, np.zeros(4, np.int32), predicted, probability, rank)
    found = ranked(image_insight([(np.arange(4), results)], NAMES, 3), "mislabelled")
    assert found["id"].tolist() == ["a", "b"]
    assert found["mislabelled_as"].iloc[0] == "owl"
    assert found["mislabelled"].iloc[0] == pytest.approx(0.98)
    assert found["mislabelled"].iloc[1] < 0.4


def test_a_run_without_validations_has_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    planted.write_planted(tmp_path / "run", iterations=0).close()
    table = open_run(tmp_path / "run").image_insight()
    assert table.empty
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {n: d for n, (d, _) in COLUMNS.items()}
