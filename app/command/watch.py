"""`deeptracker watch RUN`: say when a new episode begins in a run that is being recorded."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from deeptracker.data_model.alerts import Alert, Target
from deeptracker.data_model.run import open_run
from deeptracker.data_model.watcher import Watcher
from deeptracker.data_model.webhook import Webhook

VARIABLE = "DEEPTRACKER_WEBHOOK"


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "watch",
        help="say when a rule finds something new in a run being recorded",
        description="Follow a run while it is recorded, and say, once for each episode, when a rule finds something "
        "new. Ends with the recording. It only reads, so training is never held up.",
    )
    parser.add_argument("path", metavar="RUN", help="the folder or address of a run")
    parser.add_argument(
        "--webhook",
        metavar="URL",
        default=os.environ.get(VARIABLE),
        help=f"also POST each alert there as JSON; the environment variable {VARIABLE} keeps it out of process lists",
    )
    parser.add_argument(
        "--rule",
        action="append",
        metavar="NAME",
        help="tell all that this rule finds; may be given several times (default: episodes of all rules)",
    )
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="rest between looks, at least (default: 10)")
    parser.add_argument("--from-start", action="store_true", help="tell what is there already, too")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each alert instead of words")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Watch until the recording ends."""
    targets: list[Target] = [_print_json if given.json else _print]
    if given.webhook:
        targets.append(Webhook(given.webhook))
    found = open_run(given.path)
    Watcher(found, targets, rules=given.rule, seconds=given.seconds, from_start=given.from_start).follow()
    return 0


def _print(alert: Alert) -> None:
    print(f"iteration {alert['start']:,}: {alert['message']} ({', '.join(alert['rules'])})", flush=True)


def _print_json(alert: Alert) -> None:
    print(json.dumps(alert), flush=True)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no rest: give seconds from 0.1 to 86400")
    return seconds
