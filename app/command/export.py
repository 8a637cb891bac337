"""`deeptracker export RUN TARGET`: a run, or a part of it, as Parquet, CSV, netCDF or Zarr."""

from __future__ import annotations

import argparse
import re
from typing import Any

from deeptracker.app.command.terminal import Bar, count_of
from deeptracker.app.places import folder_size
from deeptracker.app.words import size_words
from deeptracker.data_model.export.choice import NARROWING
from deeptracker.data_model.export.exporting import Format
from deeptracker.data_model.run import open_run

_EPILOG = """\
Examples:
  deeptracker export runs/mine mine.parquet --family layers --statistic weight_std
  deeptracker export runs/mine loss.csv --family scalars --buckets 1000
  deeptracker export runs/mine conv1.nc --family filters --layer conv1 --iterations 5000:6000
  deeptracker export runs/mine mine.zarr
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a run, or a part of it, for other programs",
        description="Write a run, or a part of it, as Parquet, CSV, netCDF or Zarr: its records, or with --buckets "
        "their summaries. One family becomes one file; several, or the whole run, a folder of tables or one tree. "
        "Interrupted, it leaves nothing behind.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="RUN", help="the folder or URL of a run, also of one that is recorded just now")
    parser.add_argument("target", metavar="TARGET", help="the file or folder to write: .parquet, .csv, .nc, .zarr")
    parser.add_argument("--format", choices=list(Format), help="where the name of the target does not say it")
    _add_choice(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a target that is there already")
    parser.set_defaults(run=run)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to export", "Each may be given several times, but for the last three.")

    def several(option: str, name: str, said: str, **options: Any) -> None:
        group.add_argument(option, action="append", dest=name, metavar=option[2:].upper(), help=said, **options)

    several("--family", "families", f"{', '.join(NARROWING)} (default: all)", choices=list(NARROWING))
    several("--statistic", "statistics", "only this statistic, scalar or result")
    several("--layer", "layers", "only this layer, or its filters")
    several("--filter", "filters", "only the filter of this number", type=int)
    several("--class", "classes", "only this class, or its images")
    several("--image", "images", "only the image of this name")
    several("--block", "blocks", "with --buckets: the envelope of this block of the network instead of its layers")
    group.add_argument("--iterations", type=_window, metavar="A:B", help="only from iteration A up to B, B left out")
    group.add_argument(
        "--buckets", type=count_of("buckets"), metavar="N", help="min, max, mean and counts in at least N buckets"
    )
    group.add_argument(
        "--rows", type=count_of("rows"), metavar="N", help="with --family images --buckets: states in at least N rows"
    )


def run(given: argparse.Namespace) -> int:
    """Export, and say what was written."""
    names = ("statistics", "layers", "filters", "classes", "images", "blocks", "iterations", "buckets", "rows")
    chosen: Any = {name: getattr(given, name) for name in names}
    recorded = open_run(given.path)
    with Bar("exporting", "B", scaled=True) as progress:
        target = recorded.export(
            given.target,
            given.families,
            format=given.format,
            overwrite=given.overwrite,
            progress=progress,
            **chosen,
        )
    size = target.stat().st_size if target.is_file() else folder_size(target)
    print(f"{target}: {size_words(size)}")
    return 0


def _window(text: str) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"(\d*):(\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no window: give START:STOP, either of them may be left out")
    start, stop = (int(part) if part else None for part in found.groups())
    return start, stop
