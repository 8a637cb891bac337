"""What the panel beside the cube says, built from the data: pairs that stand out, or what is behind what is picked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from deeptracker.app.behind import Pictures
from deeptracker.app.correlation_model import described
from deeptracker.data_model.correlation import FEWEST_BINS
from deeptracker.data_model.cube import EventCube, members_of_row, strongest
from deeptracker.data_model.selection import Selection

MOST_PAIRS, MOST_FILTERS, MOST_IMAGES = 6, 16, 18
SIGNIFICANT = 0.05

Counted = Sequence[tuple[int, int]]


def number(value: float) -> str:
    """Return a number as short as it stays meaningful."""
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"


def plural(count: int, one: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def overview(events: EventCube, found: xr.Dataset) -> dict[str, Any]:
    """Return the pairs that stand out most, for when nothing is picked."""
    places = strongest(found, MOST_PAIRS)
    few = int(found.attrs["bins"]) < FEWEST_BINS
    rows = []
    for layer, class_ in places:
        cell = described(events, found, layer, class_)
        strong = bool(cell["q_value"] < SIGNIFICANT)
        judged = "" if few else f", q {number(cell['q_value'])}"
        text = f"{cell['observed']:.0f} together, {number(cell['expected'])} expected{judged}"
        rows.append(
            {"value": [layer, class_], "layer": cell["layer"], "class": cell["class"], "text": text, "strong": strong}
        )
    lines = []
    if few:
        lines.append(f"Too few bins to judge: a p-value needs {FEWEST_BINS}, here are {found.attrs['bins']}.")
    elif rows and not any(row["strong"] for row in rows):
        lines.append("None is beyond what chance makes of so many pairs (q below 0.05).")
    if not rows:
        lines.append("No layer and class came together more often than by chance.")
    more = "Click a cell for what is behind it. Drag across a face to brush iterations."
    return {"title": "Strongest pairs", "lines": lines, "pairs": rows, "more": more}


def about_pair(
    pictures: Pictures,
    events: EventCube,
    found: xr.Dataset,
    span: tuple[int, int],
    layer: int,
    class_: int,
    selection: Selection,
) -> dict[str, Any]:
    """Return the numbers of a pair and the filters and images that were anomalous in the bins they share."""
    cell = described(events, found, layer, class_)
    filters, images = events.behind(span, layer, class_)
    together = (
        f"{plural(int(cell['observed']), 'coincidence')} of an outlier filter and an anomalous image in the same bin; "
        f"{number(cell['expected'])} expected of what each does apart from all the others, shifted in time."
    )
    if cell["bins"] < FEWEST_BINS:
        judged = f"{plural(cell['bins'], 'bin')}: too few for a p-value."
    elif cell["expected"] == 0:
        judged = "At least one of them is never anomalous here."
    else:
        judged = f"Lift {number(cell['lift'])}, p {number(cell['p_value'])}, q {number(cell['q_value'])}."
    return {
        "title": f"{cell['layer']} with {cell['class']}",
        "back": True,
        "lines": [{"text": judged, "strong": True}, together],
        **_filters(events, filters, "in shared bins", selection),
        **_images(pictures, events, images, "in shared bins", selection),
        "more": "" if filters or images else "No bin is shared.",
    }


def about_row(
    pictures: Pictures, events: EventCube, span: tuple[int, int], row: int, is_class: bool, selection: Selection
) -> dict[str, Any]:
    """Return the images behind a class, or the filters behind a layer."""
    if is_class:
        found = members_of_row(events.images, span, row)
        shown = _images(pictures, events, found, "anomalous", selection)
        what = f"{plural(len(found), 'image')} flipped after or into a stable stretch."
    else:
        found = members_of_row(events.filters, span, row)
        shown = _filters(events, found, "outliers", selection)
        what = f"{plural(len(found), 'filter')} changed unlike their layer mates."
    name, other = (events.classes[row], "layer") if is_class else (events.layers[row], "class")
    return {
        "title": f"class {name}" if is_class else name,
        "back": True,
        "lines": [what],
        **shown,
        "more": f"Pick a {other} too, or a cell of layer x class, to see what goes together.",
    }


def _filters(events: EventCube, found: Counted, when: str, selection: Selection) -> dict[str, Any]:
    shown = []
    for member, times in found[:MOST_FILTERS]:
        name = events.filter_names[member]
        shown.append(
            {
                "value": member,
                "label": name,
                "short": name[name.rfind("[") :],
                "count": plural(times, "time"),
                "times": times,
                "picked": member in selection.filters,
            }
        )
    return {"filters": shown, "filters_title": _title("Filters", found, when, MOST_FILTERS)}


def _images(pictures: Pictures, events: EventCube, found: Counted, when: str, selection: Selection) -> dict[str, Any]:
    shown = []
    for member, times in found[:MOST_IMAGES]:
        name = events.image_ids[member]
        shown.append(
            {
                "value": name,
                "label": name,
                "src": pictures(member),
                "count": plural(times, "time"),
                "times": times,
                "picked": name in selection.images,
            }
        )
    return {"images": shown, "images_title": _title("Images", found, when, MOST_IMAGES)}


def _title(what: str, found: Counted, when: str, most: int) -> str:
    shown = f"the {most} most frequent of {len(found):,}" if len(found) > most else f"{len(found):,}"
    return f"{what} {when}: {shown}"
