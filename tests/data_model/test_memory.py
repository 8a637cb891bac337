"""Recording a network with tens of thousands of filters takes little memory, however long it goes on."""

from __future__ import annotations

from pathlib import Path

from deeptracker.data_model.run import open_run
from tests.data_model import record_resnet50
from tests.peak import measured, needs_peaks

RECORDS = 16 * 8 * 8 + 16
"""A shard has 16 records of the filters: enough for one of the second level."""

MOST = 24.0
"""Megabytes; the recorder's own blocks take up to 40 of the 64 that it may have beside a copy of the weights."""


@needs_peaks
def test_every_filter_of_a_resnet50_is_recorded_and_summarised_in_little_memory(tmp_path: Path) -> None:
    found = measured(Path(record_resnet50.__file__), tmp_path, RECORDS)
    assert found["rise"] < MOST
    reader = open_run(tmp_path / "resnet50")._commit.families["filters"]
    assert reader.entry.levels == [RECORDS // 8, 16]
