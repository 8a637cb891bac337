"""What is said about a recording follows from its notes, also when these are strange."""

from __future__ import annotations

from typing import Any

import pytest

from deeptracker.data_model.remarks import remarks


def test_each_kind_of_note_is_said_once_in_words() -> None:
    notes = [
        {"key": "interval", "interval": 4},
        {"key": "cut", "before": 30, "last": 99},
        {"key": "resumed", "iteration": 29},
        {"key": "cut", "before": 2000, "last": 41233},
        {"key": "resumed", "iteration": 1999},
        {"key": "gap", "first": 10, "stop": 14},
        {"key": "waited for the disk", "seconds": 1.25},
        {"key": "waited for the disk", "seconds": 2.5},
        {"key": "training ended by an exception", "kind": "KeyboardInterrupt", "iteration": 1200},
        {"key": "validation", "missing": 3, "repeated": 0, "new": 0, "relabelled": 0},
        {"key": "layers", "joined": ["a", "b"]},
        {"key": "no room for thumbnails", "images": 5000},
    ]
    assert remarks(notes) == [
        "resumed 2 times",
        "cut 2 times, at last from iteration 2,000 on (it had reached 41,233)",
        "4 iterations missing in 1 gap, at last 10 to 13",
        "training waited 3.8 s for the disk",
        "KeyboardInterrupt at iteration 1,200",
        "1 validation without images that were validated before, up to 3 of them",
        "no room for the thumbnails of 5,000 images",
        "2 layers joined while it was recorded",
    ]
    assert remarks([]) == []


@pytest.mark.parametrize("value", [None, "many", True, [], {}, float("nan"), float("inf"), -1e308])
def test_notes_of_anybody_do_no_harm(value: Any) -> None:
    keys = ("cut", "gap", "resumed", "validation", "layers", "waited for the disk", "training ended by an exception")
    fields = ("before", "last", "first", "stop", "seconds", "missing", "joined", "iteration", "kind", "images")
    notes = [{"key": key, **dict.fromkeys(fields, value)} for key in (*keys, "no room for thumbnails", value)]
    assert all(isinstance(line, str) for line in remarks(notes))
