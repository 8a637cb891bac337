"""Python processes in which some packages are missing, and a run recorded by one of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Looked for, such a package is simply not found, as where it was never installed.
BLOCK = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {missing!r}:
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
DISPLAY = ("panel", "panel_material_ui", "holoviews", "datashader", "bokeh", "PIL", "tqdm", "sklearn")
RECORDING = ("torch", "sklearn")

RunWithout = Callable[..., str]


def run_without(missing: tuple[str, ...], code: str, *arguments: str | Path, folder: Path) -> str:
    """Run `code` in a fresh Python where `missing` cannot be imported; return what it printed."""
    program = BLOCK.format(missing=missing) + code
    command = [sys.executable, "-c", program, *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture
def without_torch(tmp_path: Path) -> RunWithout:
    """Return what runs code as on a machine where only the viewer is installed."""
    return lambda code, *arguments: run_without(RECORDING, code, *arguments, folder=tmp_path)


@pytest.fixture
def without_display(tmp_path: Path) -> RunWithout:
    """Return what runs code as on a machine where only the recorder is installed."""
    return lambda code, *arguments: run_without(DISPLAY, code, *arguments, folder=tmp_path)


RECORD = """
import torch
from deeptracker import Recorder

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 6, 3), torch.nn.ReLU(),
    torch.nn.Flatten(), torch.nn.Linear(6 * 4 * 4, 3),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(30, 1, 8, 8), torch.arange(30) % 3
with Recorder(sys.argv[1], model, optimizers=[optimizer], every=1) as recorder:
    for iteration in range(40):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        recorder.log(loss=loss)
        optimizer.step()
        if iteration % 10 == 9:
            with torch.no_grad(), recorder.validation() as validation:
                validation.log([f"image-{n}" for n in range(30)], logits=model(x), targets=y)
"""


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a small run: 40 iterations, 3 layers, 4 validations of 30 images, 3 classes.

    It is recorded where nothing of the viewer is installed: that alone proves that recording needs none.
    """
    folder = tmp_path_factory.mktemp("recorded")
    run_without(DISPLAY, RECORD, folder / "run", folder=folder)
    return folder / "run"
