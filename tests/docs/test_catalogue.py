"""What is found by itself also explains itself: statistics, rules and views."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from deeptracker.app.views.base import find_views
from deeptracker.data_model.rules import find_rules
from deeptracker.tracker.statistics import FILTER_STATISTICS, LAYER_STATISTICS

ROOT = Path(__file__).parents[2]


def test_every_statistic_says_what_it_means_and_where_it_comes_from() -> None:
    assert len(LAYER_STATISTICS) > 30
    for statistic in (*LAYER_STATISTICS, *FILTER_STATISTICS):
        assert statistic.meaning, f"{statistic.name} has no meaning"
        assert statistic.group, f"{statistic.name} belongs to no group"
        # How the recorder spaced its records is no finding of anybody's.
        assert statistic.source or statistic.group == "schedule", f"{statistic.name} has no source"


def test_every_rule_loads_and_says_what_it_finds_and_where_it_comes_from() -> None:
    found = find_rules()
    assert found.failures == {}
    assert len(found.rules) > 1
    for name, rule in found.rules.items():
        assert rule.title, f"{name} has no title"
        assert rule.source, f"{name} has no source"
        assert rule.__doc__, f"{name} has no docstring"


def test_the_page_of_rules_is_what_the_rules_say() -> None:
    command = [sys.executable, str(ROOT / "tools" / "document_rules.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0, checked.stderr


def test_every_view_says_what_it_shows_and_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    views = find_views()
    assert views
    for view in views:
        assert view.description, f"{view.title} has no description"
        assert f"**{view.title}**" in readme, f"the README does not say what to see in {view.title}"


def test_the_files_and_names_that_contributing_mentions_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for room in ("app", "data_model", "tracker")
                     for path in (ROOT / room).rglob("*.py"))  # fmt: skip
    for name in re.findall(r"`([A-Z]\w+)`", text):
        assert re.search(rf"^class {name}\b", code, re.MULTILINE), f"there is no class {name}"
    for path in re.findall(r"`([\w.]+/[\w./]*)`", text):
        assert (ROOT / path).exists(), f"{path} is missing"
