"""`deeptracker info PATH`: what a run holds, in words or as JSON."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from deeptracker.app.places import folder_size, runs_below
from deeptracker.app.words import ago, size_words
from deeptracker.data_model.contents import bytes_beside
from deeptracker.data_model.errors import NotARunError
from deeptracker.data_model.run import open_run


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("info", help="say what a run holds", description="Say what a run holds.")
    parser.add_argument("path", metavar="PATH", help="the folder of a run, or its URL")
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print what the run holds."""
    try:
        facts = collect(given.path)
    except NotARunError as error:
        inner = runs_below(given.path)
        if not inner:
            raise
        some = ", ".join(str(path) for path in inner[:5])
        raise NotARunError(f"{given.path} is not a run, but {len(inner)} below it look like one: {some}") from error
    print(json.dumps(facts, indent=2) if given.json else words(facts, time.time()))
    return 0


def collect(path: str) -> dict[str, Any]:
    """Return the facts of a run as plain JSON values; raises what `open_run` raises."""

    run = open_run(path)
    first, stop = run.iterations
    return {
        "path": path,
        "name": str(run.name),
        "model": run.description.model,
        "state": run.state,
        "format_version": run.format_version,
        "first_iteration": first if stop > first else None,
        "iterations": run.steps,
        "scalars": list(run.scalar_names),
        "layers": len(run.layer_list),
        "filters": int(run.filter_layer.size),
        "layer_statistics": [statistic.name for statistic in run.layer_statistics],
        "filter_statistics": [statistic.name for statistic in run.filter_statistics],
        "activation_statistics": [statistic.name for statistic in run.activation_statistics],
        "classes": len(run.class_names),
        "images": int(run.images.sizes.get("image", 0)),
        "validations": int(run.validation.sizes.get("validation", 0)),
        "snapshots": len(run.snapshot_iterations),
        "remarks": run.remarks,
        "synthetic": run.description.synthetic,
        "committed_at": run.committed_at,
        "bytes": folder_size(path),
        "families": {family: one.to_json() for family, one in run.contents().items()},
        "bytes_beside": bytes_beside(run.storage),
    }


def words(facts: dict[str, Any], now: float) -> str:
    """Return the facts as lines for people."""
    iterations = f"{facts['iterations']:,}" if facts["iterations"] else "none recorded yet"
    synthetic = " (synthetic)" if facts["synthetic"] else ""
    lines = {
        "run": f"{facts['name']}{synthetic}",
        "model": facts["model"] or "not named",
        "state": f"{facts['state']}, last data {ago(now - facts['committed_at'])} ago",
        "iterations": iterations,
        "scalars": ", ".join(facts["scalars"]) or "none",
        "network": f"{facts['layers']:,} layers, {facts['filters']:,} filters",
        "validation": f"{facts['validations']:,} validations of {facts['images']:,} images in {facts['classes']:,} "
        "classes",
        "snapshots": f"{facts['snapshots']:,}",
        "format": f"version {facts['format_version']}",
        "size": size_words(facts["bytes"]),
    }
    told = [_family_words(family, one) for family, one in facts["families"].items()]
    titles = [*lines, *_titles("holds", told), *_titles("remarks", facts["remarks"])]
    values = [*lines.values(), *told, *facts["remarks"]]
    return "\n".join(f"{name:<12}{value}" for name, value in zip(titles, values, strict=True))


def _titles(title: str, lines: list[str]) -> list[str]:
    return [title, *[""] * len(lines)][: len(lines)]


def _family_words(family: str, one: dict[str, Any]) -> str:
    """Return what there is of a family as a line for people, its statistics last."""
    size = "" if one["bytes"] is None else f", {size_words(one['bytes'])}"
    index = "" if not one["index_bytes"] else f" ({size_words(one['index_bytes'])} of it the index)"
    levels = len(one["levels"])
    above = f", {levels} level{'s' if levels > 1 else ''} above" if levels else ""
    names = f": {', '.join(one['statistics'])}" if one["statistics"] else ""
    return f"{family}, {one['records']:,} records of {one['entities']:,} {one['of']}{above}{size}{index}{names}"
