"""Machine code on disk: kept for the next process, never stale, shared by processes, and done without where it must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeptracker.tracker.compiled import source_stamp

FIRST_CALL = """
import numpy as np, torch
from deeptracker.tracker.kernel import measure
from deeptracker.tracker.layers import find_layers
from deeptracker.tracker.measure import Measure
from deeptracker.tracker.totals import LAYER_COLUMNS, L1
layers = find_layers(torch.nn.Linear(3, 2))
out = np.empty((1, LAYER_COLUMNS))
Measure(layers).measure(out, None, remember=False)
assert np.isclose(out[0, L1], layers[0].weight.abs().sum().item())
print(sum(measure.stats.cache_hits.values()))
"""

STAMPED = "import deeptracker.tracker.compiled as compiled; compiled.source_stamp = lambda *names: {}"
NOWHERE = "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []"
FULL = """
from numba.core.caching import IndexDataCacheFile
def save(*arguments): raise OSError(28, "No space left on device")
IndexDataCacheFile.save = save
"""


def start(cache: Path, before: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", before + "\n" + FIRST_CALL]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def hits(process: subprocess.Popen[str]) -> int:
    """Return how often the process has found machine code on disk."""
    answer, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    return int(answer)


def test_machine_code_is_kept_for_the_next_process_until_a_source_changes(tmp_path):
    # Two at once, neither of which finds anything yet, do not get in each other's way.
    both = [start(tmp_path, STAMPED.format(1)) for _ in range(2)]
    assert [hits(one) for one in both] == [0, 0]
    assert hits(start(tmp_path, STAMPED.format(1))) == 1
    assert hits(start(tmp_path, STAMPED.format(2))) == 0


@pytest.mark.parametrize("obstacle", [NOWHERE, FULL])
def test_recording_goes_on_where_machine_code_cannot_be_kept(tmp_path, obstacle):
    assert hits(start(tmp_path, obstacle)) == 0
    assert not list(tmp_path.rglob("*.nbc"))


def test_the_stamp_of_the_sources_follows_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr("deeptracker.tracker.compiled.__file__", str(tmp_path / "compiled.py"))
    assert source_stamp("totals") == 0
    (tmp_path / "totals.py").write_text("L1 = 5")
    first = source_stamp("totals")
    (tmp_path / "totals.py").write_text("L1 = 6")
    assert len({0, first, source_stamp("totals")}) == 3
