"""`deeptracker index RUN`: build the levels of a run's index anew, on all cores or on a cluster."""

from __future__ import annotations

import argparse
import json
from typing import Any

from deeptracker.app.command.sharing import add_workers, cores
from deeptracker.app.command.terminal import Bar
from deeptracker.app.words import size_words
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.indexing.building import Built, build_index


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "index",
        help="build the index of a run anew",
        description="Build the levels of a run's index anew from its records: the same files, to the bit, as recording "
        "wrote. Segments of the run are built side by side, on the cores of this machine or by the workers of a "
        "cluster, which must reach the run by the same path or URL.",
    )
    parser.add_argument("path", metavar="RUN", help="the folder or URL of a run that is not being recorded")
    parser.add_argument(
        "--family", action="append", choices=list(ENTITY), help="only this family; may be given several times"
    )
    add_workers(parser, "one a core")
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Build, and say what was built."""
    with Bar("indexing", "record", scaled=True) as progress:
        built = build_index(
            given.path,
            given.family,
            workers=given.workers or cores(),
            scheduler=given.scheduler,
            progress=progress,
        )
    print(json.dumps(built.to_json(), indent=2) if given.json else words(built))
    return 0


def words(built: Built) -> str:
    """Return the report as a line for people."""
    if not built.files:
        return f"{built.path} has no index to build: too few records, or none."
    rate = size_words(int(built.record_bytes / max(built.seconds, 1e-9)))
    return (
        f"{built.path}: {built.files:,} files, {size_words(built.written_bytes)}, of {', '.join(built.families)}, in "
        f"{built.seconds:.1f} s ({size_words(built.record_bytes)} of records, {rate} a second)"
    )
