"""What several runs have in common, by name, and how each of them judged its images in the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deeptracker.data_model.run import Run
from deeptracker.data_model.vocabulary import CLASS_STATISTICS, CLASSES, LAYERS, SCALARS

Group = Sequence[Run]

VALIDATION = "validation"
LAST_VALIDATIONS = 16
"""Validations read at once, from the end backwards, for what became of each image."""


def matched(
    groups: Sequence[Group], names: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, dict[str, list[str]]]]:
    """Return what all runs have, by kind, and by kind and group what not all have."""

    def has(run: Run) -> dict[str, list[str]]:
        return {
            SCALARS: list(run.scalar_names),
            LAYERS: [one.name for one in run.layer_statistics],
            f"{LAYERS} names": [one.name for one in run.layer_list],
            f"{CLASSES} names": list(run.class_names),
            "images": [str(one) for one in run.images["id"].values],
        }

    having = [[has(run) for run in group] for group in groups]
    shared: dict[str, list[str]] = {}
    unmatched: dict[str, dict[str, list[str]]] = {}
    for kind, order in having[0][0].items():
        common = set.intersection(*(set(one[kind]) for group in having for one in group))
        shared[kind] = [one for one in order if one in common]
        title = {LAYERS: "statistics"}.get(kind, kind.removesuffix(" names"))
        left = {
            name: sorted({one for run in group for one in run[kind]} - common)
            for name, group in zip(names, having, strict=True)
        }
        if any(left.values()):
            unmatched[title] = {name: those for name, those in left.items() if those}
    validated = all(len(run.validation["iteration"]) for group in groups for run in group)
    shared[CLASSES] = shared[VALIDATION] = [one.name for one in CLASS_STATISTICS] if validated else []
    return shared, unmatched


def last_answers(run: Run) -> pd.DataFrame:
    """Return whether each image was right when it was last validated, by its id; without those that never were."""
    results, images = run.validation, run.images
    count = int(images.sizes.get("image", 0))
    right, known = np.zeros(count, bool), np.zeros(count, bool)
    stop = int(results.sizes.get("validation", 0))
    while stop > 0 and not known.all():
        rank = results["rank"].isel(validation=slice(max(0, stop - LAST_VALIDATIONS), stop)).values
        for row in rank[::-1]:
            new = (row >= 0) & ~known
            right[new], known[new] = row[new] == 0, True
        stop -= LAST_VALIDATIONS
    names = np.array([*run.class_names, ""], object)
    table = pd.DataFrame(
        {"right": right, "class": names[images["class"].values]}, index=[str(one) for one in images["id"].values]
    )
    return table[known]


def distinct(names: Sequence[str]) -> list[str]:
    """Give runs of the same name a number."""
    return [
        name if names.count(name) == 1 else f"{name} ({names[: n + 1].count(name)})" for n, name in enumerate(names)
    ]
