"""Each half works where the other half's packages are not installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deeptracker import open_run

if TYPE_CHECKING:
    from .conftest import RunWithout

LOADED = """
print(json.dumps([name for name in ("torch", "panel", "holoviews", "bokeh") if name in sys.modules]))
"""


def test_the_recorder_works_without_the_viewer(recorded_run: Path) -> None:
    run = open_run(recorded_run)
    assert run.scalars.sizes["iteration"] == 40
    assert "loss" in run.scalar_names
    assert [layer.kind for layer in run.layer_list] == ["Conv2d", "Conv2d", "Linear"]
    assert run.validation.sizes["validation"] == 4
    assert run.validation.sizes["image"] == 30


def test_a_run_opens_and_answers_without_torch(recorded_run: Path, without_torch: RunWithout) -> None:
    answer = without_torch(
        "import json\n"
        "from deeptracker import open_run\n"
        "run = open_run(sys.argv[1])\n"
        "loss = run.query('loss', buckets=10)\n"
        "print(json.dumps([int(loss.record_count.sum()), len(run.anomalies())]))",
        recorded_run,
    )
    records, anomalies = json.loads(answer)
    assert records == 40
    assert anomalies >= 0


def test_every_view_is_built_without_torch(recorded_run: Path, without_torch: RunWithout) -> None:
    answer = without_torch(
        "import panel as pn\n"
        "from deeptracker import open_run\n"
        "view = open_run(sys.argv[1]).view()\n"
        "root = pn.panel(view).get_root()\n"
        "print(len(list(root.references())))",
        recorded_run,
    )
    assert int(answer) > 50


def test_the_command_line_works_without_torch(recorded_run: Path, without_torch: RunWithout) -> None:
    answer = without_torch(
        "from deeptracker.app.command import main\nsys.exit(main(['info', '--json', sys.argv[1]]))",
        recorded_run,
    )
    assert json.loads(answer)


@pytest.mark.parametrize("module", ["deeptracker", "deeptracker.data_model", "deeptracker.data_model.rules"])
def test_what_both_halves_use_loads_neither(module: str, without_torch: RunWithout) -> None:
    assert json.loads(without_torch(f"import json, {module}" + LOADED)) == []


def test_importing_the_recorder_loads_no_viewer(without_display: RunWithout) -> None:
    assert json.loads(without_display("import json\nfrom deeptracker import Recorder" + LOADED)) == ["torch"]


def test_the_recorder_without_torch_says_what_to_install(without_torch: RunWithout) -> None:
    answer = without_torch("try:\n    from deeptracker import Recorder\nexcept ImportError as error:\n    print(error)")
    assert "deeptracker[recorder]" in answer


def test_viewing_without_panel_says_what_to_install(recorded_run: Path, without_display: RunWithout) -> None:
    answer = without_display(
        "from deeptracker import open_run\n"
        "from deeptracker.data_model.errors import DeepTrackerError\n"
        "try:\n    open_run(sys.argv[1]).view()\nexcept DeepTrackerError as error:\n    print(error)",
        recorded_run,
    )
    assert "deeptracker[viewer]" in answer
