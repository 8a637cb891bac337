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


BUILD_EVERY_VIEW = """
import json, logging
import panel as pn
from deeptracker import open_run
from deeptracker.app.viewer import key_of
from deeptracker.app.views.base import find_views

failures = []
class Keep(logging.Handler):
    def emit(self, record):
        failures.append(record.getMessage())
logging.getLogger("deeptracker").addHandler(Keep(logging.ERROR))

names = [key_of(view) for view in find_views()]
root = pn.panel(open_run(sys.argv[1]).view(views=names)).get_root()
print(json.dumps([names, failures, len(list(root.references()))]))
"""


def test_every_view_is_built_without_torch(recorded_run: Path, without_torch: RunWithout) -> None:
    names, failures, models = json.loads(without_torch(BUILD_EVERY_VIEW, recorded_run))
    assert failures == []
    assert len(names) > 1
    assert models > 50 * len(names)


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
