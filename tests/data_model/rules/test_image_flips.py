"""The left and right rules on planted flips (synthetic)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deeptracker.data_model.rules.image_flips import LeftFlip, RightFlip, default_stable


def answers(text: str) -> np.ndarray:
    return np.array([{"y": 1, "n": 0, ".": -1}[letter] for letter in text], np.int8)


@pytest.fixture
def recorded(fake_run: Callable[..., Any]) -> Callable[..., Any]:
    def build(*images: str) -> Any:
        correct = np.stack([answers(image) for image in images], axis=1)
        iteration = 100 + 50 * np.arange(len(correct))
        return fake_run(iteration=np.arange(3000), correct=correct, validation_iteration=iteration)

    return build


def test_a_flip_after_a_long_stretch_is_left_and_into_one_is_right(recorded: Callable[..., Any]) -> None:
    run = recorded("nnnnnyynynyyyyyy", "ynynynynynynynyn")
    (left,) = LeftFlip(stable=5).find(run)
    assert (left.entity, left.index, left.start, left.stop) == ("image0", 0, 350, 400)
    assert left.message == "image image0 was learned after 5 validations wrong"
    (right,) = RightFlip(stable=5).find(run)
    assert (right.start, right.score) == (600, pytest.approx(6 / 5))
    assert right.message == "image image0 was learned and stayed right for 6 validations"


def test_a_forgotten_image_says_so(recorded: Callable[..., Any]) -> None:
    run = recorded("yyyynnnn")
    assert LeftFlip(stable=4).find(run)[0].message == "image image0 was forgotten after 4 validations right"
    assert RightFlip(stable=4).find(run)[0].message == ("image image0 was forgotten and stayed wrong for 4 validations")


def test_the_right_rule_waits_until_it_knows(recorded: Callable[..., Any]) -> None:
    assert RightFlip(stable=3).find(recorded("nnyy")) == []
    assert len(RightFlip(stable=3).find(recorded("nnyyy"))) == 1


def test_missing_validations_are_skipped(recorded: Callable[..., Any]) -> None:
    (left,) = LeftFlip(stable=3).find(recorded("nn.n..y"))
    assert left.start == 100 + 6 * 50


@pytest.mark.parametrize(
    ("validations", "stable"), [(0, 3), (49, 3), (50, 5), (100, 10), (200, 20), (800, 80), (9000, 80)]
)
def test_the_stretch_grows_with_the_run(validations: int, stable: int) -> None:
    assert default_stable(validations) == stable
