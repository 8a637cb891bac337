"""`deeptracker compare RUN RUN ...`: what parted first, and which images the runs judge apart in the end."""

from __future__ import annotations

import argparse
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deeptracker.data_model.alignment import Align
from deeptracker.data_model.comparison import Comparison, compare_runs
from deeptracker.data_model.run import open_run

MOST = 12
SOME = 5


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="say where runs parted, and which images they judge apart",
        description="Lay runs side by side, and say what parted first from the first run, and which images they judge "
        "apart in the end. Repeats of a run (same settings, other seeds), joined by commas, tell noise from effect: "
        "deeptracker compare a1,a2,a3 b1,b2,b3",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN[,REPEAT...]", help="runs, each with its repeats if there are any"
    )
    parser.add_argument(
        "--align", choices=list(Align), default=Align.ITERATION, type=Align, help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the comparison."""
    groups = [[open_run(path) for path in _paths(one)] for one in given.runs]
    found = compare_runs(groups, align=given.align)
    partings, images = found.partings(), found.images()
    if given.json:
        print(json.dumps(facts(found, partings, images), indent=2))
    else:
        print(words(found, partings, images))
    return 0


def facts(found: Comparison, partings: pd.DataFrame, images: pd.DataFrame) -> dict[str, Any]:
    """Return the comparison as plain JSON values."""
    return {
        "groups": found.names,
        "align": str(found.align),
        "window": list(found.window),
        "noise": found.noise,
        "unmatched": found.unmatched,
        "partings": json.loads(partings.to_json(orient="records")),
        "images": json.loads(images.to_json(orient="records")),
    }


def words(found: Comparison, partings: pd.DataFrame, images: pd.DataFrame) -> str:
    """Return the comparison as lines for people."""
    first, stop = found.window
    lines = [f"{' and '.join(found.names)}, by {found.align} from {first:,.6g} to {stop:,.6g}", f"  {found.noise}"]
    for kind, left in found.unmatched.items():
        for name, those in left.items():
            more = f" and {len(those) - SOME:,} more" if len(those) > SOME else ""
            lines.append(f"  only {name} has the {kind} {', '.join(those[:SOME])}{more}")
    lines.append("What parted first:" if len(partings) else "Nothing parted beyond its noise.")
    for row in partings.head(MOST).to_dict("records"):
        where = f" of {row['entity']}" if row["entity"] else ""
        lines.append(
            f"  {found.align} {row['position']:,.6g}: {row['variable']}{where} ({row['family']}), {row['group']} by "
            f"{row['difference']:+.3g}, {abs(row['z']):.3g} times its noise"
        )
    if len(partings) > MOST:
        lines.append(f"  and {len(partings) - MOST:,} more")
    lines.append(f"{len(images):,} images are judged apart in the end" + (":" if len(images) else "."))
    return "\n".join([*lines, *(_image(row, found.names) for row in images.head(MOST).to_dict("records"))])


def _image(row: Mapping[Hashable, Any], names: Sequence[str]) -> str:
    return f"  {row['id']} ({row['class']}): " + ", ".join(f"{name} {_answer(row[name])}" for name in names)


def _answer(share: float) -> str:
    return {0.0: "wrong", 1.0: "right"}.get(share, f"right in {share:.0%}")


def _paths(given: str) -> list[str]:
    """Return the paths of a run and its repeats; a folder may have a comma in its name."""
    return [given] if Path(given).exists() else [path for path in given.split(",") if path]
