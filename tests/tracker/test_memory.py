"""What recording takes of the memory: the weights once more, and a fixed amount."""

from __future__ import annotations

from pathlib import Path

from deeptracker.data_model.run import open_run
from tests.peak import measured, needs_peaks
from tests.tracker import record_resnet50

STEPS = 176
"""A shard has 16 records of the filters: enough for one of the first level of the index."""

MOST = 64.0
"""Megabytes beside a copy of the weights."""


@needs_peaks
def test_recording_every_filter_of_a_resnet50_takes_the_weights_once_more_and_64_mb(tmp_path: Path) -> None:
    found = measured(Path(record_resnet50.__file__), tmp_path, STEPS)
    assert found["weights"] < found["rise"] < found["weights"] + MOST
    run = open_run(tmp_path / "resnet50")
    assert run.steps == STEPS
    assert len(run.layer_list) == 161
    assert run.filters["weight_std"].shape == (STEPS, 27_560)
