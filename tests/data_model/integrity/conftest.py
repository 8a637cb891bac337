"""Two runs with everything in them, recorded once: one closed, one as a crash leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeptracker.data_model import logs
from tests.data_model.formats.recording import RUNS, SHARD, record
from tests.data_model.integrity.reading import copied


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of both; tests copy them."""
    folder = tmp_path_factory.mktemp("integrity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "records_per_shard", lambda fields: SHARD)
        for kind in RUNS:
            record(folder / kind, closed=kind == "closed")
    return folder


@pytest.fixture(params=RUNS)
def path(request: pytest.FixtureRequest, recorded_runs: Path, tmp_path: Path) -> Path:
    """Return a copy of one of them, to be damaged."""
    return copied(recorded_runs / request.param, tmp_path / request.param)


@pytest.fixture
def closed(recorded_runs: Path, tmp_path: Path) -> Path:
    """Return a copy of the closed one."""
    return copied(recorded_runs / "closed", tmp_path / "closed")
