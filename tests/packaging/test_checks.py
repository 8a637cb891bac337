"""`make check` sees every file, and each of them once, although the package's folders are links."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "data_model", "tracker")
# Only the strict mode minds this one.
PLANTED = """


import typing


class Planted: ...


def planted(value: typing.Any) -> Planted:
    return value.planted
"""


def python_files(*folders: str) -> set[Path]:
    """Return the Python files below some folders of the repository."""
    return {path for folder in folders for path in (ROOT / folder).rglob("*.py")}


def test_types_are_checked_in_every_file_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy"]
    planted = []
    for room in ROOMS:
        source = Path("deeptracker", room, "__init__.py")
        shadow = tmp_path / f"{room}.py"
        shadow.write_text((ROOT / source).read_text(encoding="utf-8") + PLANTED, encoding="utf-8")
        command += ["--shadow-file", str(source), str(shadow)]
        planted.append(str(source))
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    found = re.findall(r'(\S+):\d+: error: Returning Any from function declared to return "Planted"', answer.stdout)
    assert sorted(found) == sorted(planted), answer.stdout
    (checked,) = re.findall(r"checked (\d+) source files", answer.stdout)
    assert int(checked) == len(python_files(*ROOMS)) + 1


def test_ruff_sees_the_real_files_and_not_their_links() -> None:
    ruff = shutil.which("ruff", path=sysconfig.get_path("scripts")) or "ruff"
    answer = subprocess.run([ruff, "check", "--show-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    seen = {Path(line) for line in answer.stdout.splitlines() if line.endswith(".py")}
    init = ROOT / "deeptracker" / "__init__.py"
    assert python_files(*ROOMS, "tests", "tools") | {init} <= seen
    assert {path for path in seen if ROOT / "deeptracker" in path.parents} == {init}
