"""`deeptracker anomalies RUN`: the episodes of a run, in words or as JSON, and a status that scripts can act on."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import Any

from deeptracker.app.command.sharing import add_workers
from deeptracker.data_model.detection import Detection, detect
from deeptracker.data_model.episodes import Episode, episodes_of_run, self_supporting
from deeptracker.data_model.rules import add_rules
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.shared_detection import detect_shared

FOUND, INCOMPLETE = 3, 4
MOST = 20
STATUS = (
    "Exit status: 0 where nothing was found, 3 where there are episodes, 4 where there are none but a rule could not "
    "look, 1 where the run cannot be read, 2 for wrong usage."
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "anomalies",
        help="say what went wrong in a run, where and when",
        description="Search a run with the anomaly rules, and say what belongs together: where and when it began, and "
        "what followed, the most important first.",
        epilog=STATUS,
    )
    parser.add_argument("path", metavar="RUN", help="the folder or address of a run")
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.add_argument(
        "--rule",
        action="append",
        metavar="NAME",
        help="search with this rule only, and tell all it finds; may be given several times (default: all rules)",
    )
    parser.add_argument(
        "--rules-from",
        action="append",
        metavar="FOLDER",
        default=[],
        help="a folder with rules of your own, to be run too",
    )
    parser.add_argument(
        "--iterations", nargs=2, type=int, metavar=("START", "STOP"), help="only episodes that touch these iterations"
    )
    add_workers(parser, "1; each searches with some of the rules")
    parser.add_argument("--most", type=_count, default=MOST, help="episodes to print in words (default: %(default)s)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the episodes; return the status."""
    for folder in given.rules_from:
        add_rules(folder)
    recorded = open_run(given.path)
    detection = _detection(given, recorded)
    found = self_supporting(detection.anomalies) if given.rule else detection.anomalies
    first, stop = given.iterations or recorded.iterations
    told = [one for one in episodes_of_run(recorded, found) if one.start < stop and one.stop > first]
    for name, reason in detection.failures.items():
        print(f"deeptracker: the rule {name} could not look: {' '.join(reason.split())}", file=sys.stderr)
    if given.json:
        print(json.dumps(facts(recorded, told, detection), indent=2, allow_nan=False))
    else:
        print(words(recorded, told, given.most))
    return FOUND if told else INCOMPLETE if detection.failures else 0


def _detection(given: argparse.Namespace, recorded: Run) -> Detection:
    if given.scheduler is None and (given.workers or 1) == 1:
        return detect(recorded, given.rule)
    options = {"workers": given.workers or 1, "scheduler": given.scheduler}
    return detect_shared(given.path, given.rule, folders=given.rules_from, **options)


def facts(recorded: Run, told: list[Episode], detection: Detection) -> dict[str, Any]:
    """Return the episodes as plain JSON values."""
    return {
        "run": str(recorded.name),
        "path": str(recorded.path),
        "iterations": list(recorded.iterations),
        "episodes": [one.to_json() for one in told],
        "failures": detection.failures,
    }


def words(recorded: Run, told: list[Episode], most: int) -> str:
    """Return the episodes as lines for people, the most important first."""
    first, stop = recorded.iterations
    whole = f"{recorded.name}, iterations {first:,} to {max(stop - 1, first):,}"
    if not told:
        return f"{whole}: nothing unusual was found."
    lines = [f"{whole}: {len(told):,} episode{'s' if len(told) > 1 else ''}, the most important first"]
    for one in told[:most]:
        lines += ["", f"{one.start:,} to {one.stop - 1:,}, {place_words(one)} (score {one.score:.3g})"]
        lines += [
            line
            for said in one.text
            for line in textwrap.wrap(said, 110, initial_indent="  ", subsequent_indent="    ")
        ]
    if len(told) > most:
        lines += ["", f"and {len(told) - most:,} more (--most, or --json for all)"]
    return "\n".join(lines)


def place_words(episode: Episode) -> str:
    """Return where an episode began, as people say it."""
    names = ", ".join(episode.entities[:3]) + (" and others" if len(episode.entities) > 3 else "")
    if episode.place in ("run", "validation"):
        return "the run as a whole" if episode.place == "run" else "the validation"
    return f"{episode.place} {names}"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of episodes: give 1 or more")
    return int(text)
