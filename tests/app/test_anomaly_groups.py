"""The lines of the list of anomalies."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deeptracker.app.anomaly_groups import around, counts, grouped, inside, row_of
from deeptracker.data_model.anomaly import Anomaly, Kind, to_frame

TABLE = to_frame(
    [
        Anomaly("left_flip", Kind.IMAGE, "a", 0, 10, 20, 1.0, "image a was learned"),
        Anomaly("left_flip", Kind.IMAGE, "b", 1, 10, 20, 3.0, "image b was learned"),
        Anomaly("left_flip", Kind.IMAGE, "c", 2, 10, 20, 2.0, "image c was learned"),
        Anomaly("filter_outlier", Kind.FILTER, "conv[3]", 3, 12, 13, 4.0, "filter 3"),
        Anomaly("left_flip", Kind.IMAGE, "a", 0, 20, 30, 1.0, "image a was forgotten"),
        Anomaly("loss_spike", Kind.SCALAR, "loss", 0, 25, 27, 9.0, "loss jumped"),
    ]
)
CLASS_OF = {"a": "cat", "b": "cat", "c": "dog"}


def test_what_happens_together_in_a_class_is_one_line() -> None:
    lines = grouped(TABLE, CLASS_OF)
    assert [(line.place, line.count, line.row) for line in lines] == [
        ("class cat", 2, 0),
        ("class dog", 1, 2),
        ("conv", 1, 3),
        ("class cat", 1, 4),
        ("loss", 1, 5),
    ]
    first = lines[0]
    assert first.text == "2 images of class cat flipped after a stable stretch"
    assert (first.score, first.members) == (3.0, ("a", "b"))
    assert lines[1].text == "image c was learned"


def test_rows_are_those_of_the_whole_table() -> None:
    part = inside(TABLE, (13, 26))
    assert [line.row for line in grouped(part, CLASS_OF)] == [0, 2, 4, 5]
    assert grouped(inside(TABLE, (100, 200)), CLASS_OF) == []


def test_counts_by_rule_and_bin() -> None:
    found = counts(TABLE, ["left_flip", "loss_spike"], np.array([0, 10, 20, 30]))
    assert found.tolist() == [[0, 3, 1], [0, 0, 1]]


def test_a_jump_shows_the_surroundings_and_stays_inside_the_run() -> None:
    assert around((500, 510), (0, 10_000), (0, 10_000)) == (255, 755)
    assert around((0, 1), (0, 10_000), (0, 10_000)) == (0, 500)
    assert around((9_999, 10_000), (0, 10_000), (0, 10_000)) == (9_500, 10_000)
    assert around((500, 510), (0, 10_000), (400, 700)) == (400, 700), "what shows it well already stays"
    assert around((0, 1), (0, 1), (0, 1)) == (0, 1)
    assert around((100, 9_000), (0, 10_000), (0, 50)) == (0, 10_000)


def test_a_picked_anomaly_is_found_again_in_a_newer_table() -> None:
    newer = pd.concat([TABLE.iloc[[3]], TABLE], ignore_index=True)
    assert row_of(newer, "loss_spike", "loss", 25) == 6
    assert row_of(newer, "loss_spike", "loss", 26) is None
