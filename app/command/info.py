"""`deeptracker info PATH`: what a run holds, in words or as JSON."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from deeptracker.app.places import folder_size, runs_below
from deeptracker.app.words import ago, size_words
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
        "first_iteration": first if stop > first else None,
        "iterations": run.steps,
        "scalars": list(run.scalar_names),
        "layers": len(run.layer_list),
        "filters": int(run.filter_layer.size),
        "layer_statistics": [statistic.name for statistic in run.layer_statistics],
        "classes": len(run.class_names),
        "images": int(run.images.sizes.get("image", 0)),
        "validations": int(run.validation.sizes.get("validation", 0)),
        "snapshots": len(run.snapshot_iterations),
        "remarks": run.remarks,
        "synthetic": run.description.synthetic,
        "committed_at": run.committed_at,
        "bytes": folder_size(path),
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
        "network": f"{facts['layers']:,} layers, {facts['filters']:,} filters, "
        f"{len(facts['layer_statistics'])} statistics each",
        "validation": f"{facts['validations']:,} validations of {facts['images']:,} images in {facts['classes']:,} "
        "classes",
        "snapshots": f"{facts['snapshots']:,}",
        "size": size_words(facts["bytes"]),
    }
    titles = [*lines, *["remarks", *[""] * len(facts["remarks"])][: len(facts["remarks"])]]
    values = [*lines.values(), *facts["remarks"]]
    return "\n".join(f"{name:<12}{value}" for name, value in zip(titles, values, strict=True))
