"""From what is asked of a run to the families that are exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import ExportError, QueryError
from deeptracker.data_model.export.choice import IMAGES, NARROWING, SUMMARISED, Choice, Chosen
from deeptracker.data_model.export.records import records
from deeptracker.data_model.export.source import Source
from deeptracker.data_model.export.states import states
from deeptracker.data_model.export.summaries import summaries
from deeptracker.data_model.families import SNAPSHOTS, VALIDATION
from deeptracker.data_model.images import Images
from deeptracker.data_model.series import SeriesReader
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS

MISSING = (
    "In arrays of floats a plain NaN says that nothing was recorded, a NaN with payload 1 that a NaN was; in integers "
    "the attribute not_recorded names the value. In tables what was not recorded is null."
)


def source_of(commit: Commit, images: Images, series: SeriesReader, choice: Choice, whole: tuple[int, int]) -> Source:
    """Return a choice as a Source, over the records or over the buckets; QueryError for what there is not."""
    choice.check()
    if choice.buckets is not None and choice.family == IMAGES:
        return states(images, choice, whole)
    if choice.buckets is not None:
        return summaries(commit, series, choice, whole)
    return records(commit, images, choice)


def choices(commit: Commit, families: Sequence[str] | None, chosen: Chosen) -> list[Choice]:
    """Return what is wanted of each family named; without names, of each that holds something.

    ExportError where a choice of entities or statistics is given for more than one family.
    """
    names = [name for name in NARROWING if _holds(commit, name)] if families is None else list(dict.fromkeys(families))
    unknown = [name for name in names if name not in NARROWING]
    if unknown:
        raise QueryError(f"There is no family {unknown[0]!r}; allowed are {', '.join(NARROWING)}.")
    if families is None and chosen.get("buckets") is not None:
        names = [name for name in names if name in SUMMARISED]
    narrowed = [
        key for key, value in chosen.items() if value is not None and key not in ("iterations", "buckets", "rows")
    ]
    if narrowed and len(names) != 1:
        raise ExportError(
            f"A choice of {narrowed[0]} is within one family, and {len(names)} are exported. Name the one."
        )
    return [Choice(name, **_fitting(name, chosen) if len(names) > 1 else chosen) for name in names]


def _fitting(family: str, chosen: Chosen) -> Chosen:
    """Leave out what one family of several cannot have: images have no time, and only their states have rows."""
    kept: Chosen = {**chosen}
    if family == IMAGES and chosen.get("buckets") is None:
        kept.pop("iterations", None)
    if family != IMAGES:
        kept.pop("rows", None)
    return kept


def _holds(commit: Commit, family: str) -> bool:
    if family == IMAGES:
        return commit.manifest.images > 0
    log = {CLASSES: VALIDATION}.get(family, family)
    return log in commit.manifest.logs and commit.manifest.logs[log].records > 0


def about(commit: Commit, iterations: tuple[int, int]) -> dict[str, Any]:
    """Return what an export says of the run that it is of, as plain JSON values."""
    manifest = commit.manifest
    statistics = {family: manifest.statistics[family] for family in (LAYERS, ACTIVATIONS, FILTERS, CLASSES)}
    return {
        "run": manifest.description.name,
        "description": manifest.description.to_json(),
        "state": manifest.state,
        "iterations": list(iterations),
        "format_version": manifest.version,
        "layers": [layer.to_json() for layer in manifest.layers],
        "statistics": {family: [one.to_json() for one in some] for family, some in statistics.items() if some},
        "snapshot_layers": [manifest.layers[number].name for number in manifest.snapshot_layers.order]
        if SNAPSHOTS in manifest.logs
        else [],
        "missing": MISSING,
    }
