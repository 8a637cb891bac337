"""`deeptracker check RUN`: whether every file of a run is there and whole, and repairing what can be."""

from __future__ import annotations

import argparse
import json
from typing import Any

from deeptracker.app.command.terminal import Bar
from deeptracker.app.words import size_words
from deeptracker.data_model.check.checking import check_run, repair_run
from deeptracker.data_model.check.findings import Finding, Report

DAMAGED = 3
"""Exit status where something is damaged or missing, and was not repaired."""

_LONG = 2000
"""From so many files on, a bar says how far the check has come."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check",
        help="say whether every file of a run is there and whole",
        description="Look at every file of a run, and name those that are missing or damaged and what lies in them.",
        epilog=f"The exit status is 0 where the run is whole, or was repaired; {DAMAGED} where something is missing or "
        "damaged; and 1 where it cannot be checked at all.",
    )
    parser.add_argument("path", metavar="RUN", help="the folder or URL of a run")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="write anew what follows from the rest of the run (levels of the index, metadata, names), nothing else",
    )
    parser.add_argument(
        "--remove-strays", action="store_true", help="with --repair, delete files that no commit of the run names"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Check, and print what was found."""
    with Bar("checking", "file", least=_LONG) as bar:
        if given.repair:
            report = repair_run(given.path, bar, remove_strays=given.remove_strays)
        else:
            report = check_run(given.path, bar)
    print(json.dumps(report.to_json(), indent=2) if given.json else "\n".join(words(report)))
    return DAMAGED if report.damage else 0


def words(report: Report) -> list[str]:
    """Return the report as lines for people."""
    parts = (("damage", report.damage), ("repaired", report.repaired), ("no commit names", report.strays))
    lines = [line for title, findings in parts for line in _listed(title, findings)]
    looked = f"{report.files:,} files, {size_words(report.bytes)}"
    if not report.damage:
        return [*lines, f"{report.place} is whole ({looked})."]
    hopeful = sum(bool(finding.repair) for finding in report.damage)
    advice = f" {hopeful:,} of them can be repaired, with --repair." if hopeful else ""
    return [*lines, f"{report.place} is damaged: {len(report.damage):,} files ({looked} checked).{advice}"]


def _listed(title: str, findings: list[Finding]) -> list[str]:
    return [f"{title}:", *(f"  {finding}" for finding in findings), ""] if findings else []
