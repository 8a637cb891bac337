"""Peaks of memory, as Linux keeps them of a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

needs_peaks = pytest.mark.skipif(not os.access(_RESET, os.W_OK), reason="only Linux tells and forgets peaks of memory")


def peak() -> float:
    """Return the most memory that this process has held since `forget_peak`, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    assert found is not None
    return int(found[1]) / 1024


def forget_peak() -> None:
    """Have the peak be what the process holds now."""
    _RESET.write_text("5")


def measured(script: Path, *arguments: object) -> dict[str, float]:
    """Return what a script that runs in a process of its own prints, as JSON: megabytes by name."""
    command = [sys.executable, str(script.relative_to(ROOT)), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return {name: float(value) for name, value in json.loads(done.stdout).items()}
