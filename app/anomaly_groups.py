"""The anomalies as a list people can read: what happened at the same time in the same class or layer is one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deeptracker.data_model.anomaly import Kind

Window = tuple[int, int]

MOST_MEMBERS = 60
"""Entities of a line that are remembered by name."""

TOGETHER = {
    "left_flip": "{count:,} images of {place} flipped after a stable stretch",
    "right_flip": "{count:,} images of {place} flipped into a stable stretch",
    "filter_outlier": "{count:,} filters of {place} changed unlike their layer mates",
}


@dataclass(frozen=True)
class Group:
    """Anomalies of one rule with one start in one place: a class, a layer, or the entity itself.

    `row` is the first one's row in the table, `score` the highest, `members` their names (at most `MOST_MEMBERS`).
    """

    rule: str
    kind: str
    place: str
    start: int
    stop: int
    score: float
    count: int
    row: int
    text: str
    members: tuple[str, ...]


def places(table: pd.DataFrame, class_of: Mapping[str, str]) -> pd.Series[str]:
    """Return where each anomaly is: an image's class, a filter's layer, otherwise the entity itself."""
    entity = table["entity"].astype(str)
    of_filter = entity.str.rsplit("[", n=1).str[0]
    of_image = entity.map(lambda name: f"class {class_of[name]}" if name in class_of else name)
    place = entity.where(table["kind"] != Kind.FILTER, of_filter)
    return place.where(table["kind"] != Kind.IMAGE, of_image)


def grouped(table: pd.DataFrame, class_of: Mapping[str, str]) -> list[Group]:
    """Return the lines of the list, in the order of the table; its index are the rows."""
    if len(table) == 0:
        return []
    place = places(table, class_of)
    number = table.groupby([table["rule"], place, table["start"]], sort=False).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    columns = {name: table[name].to_numpy() for name in table.columns}
    columns |= {"place": place.to_numpy(), "row": table.index.to_numpy()}
    return [_group(columns, part) for part in parts]


def _group(columns: Mapping[str, np.ndarray], part: np.ndarray) -> Group:
    first = int(part[0])
    rule, place, text = (str(columns[name][first]) for name in ("rule", "place", "message"))
    if len(part) > 1:
        text = TOGETHER.get(rule, "{count:,} times: {message}").format(count=len(part), place=place, message=text)
    return Group(
        rule=rule,
        kind=str(columns["kind"][first]),
        place=place,
        start=int(columns["start"][first]),
        stop=int(columns["stop"][part].max()),
        score=float(columns["score"][part].max()),
        count=len(part),
        row=int(columns["row"][first]),
        text=text,
        members=tuple(str(name) for name in columns["entity"][part[:MOST_MEMBERS]]),
    )


def inside(table: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Return the anomalies that touch the iterations [start, stop); the index stays that of the whole table."""
    return table[(table["start"] < window[1]) & (table["stop"] > window[0])]


def counts(table: pd.DataFrame, rules: list[str], edges: np.ndarray) -> np.ndarray:
    """Count the anomalies of each rule that begin in each bin: int32 (rule, bin)."""
    found = np.zeros((len(rules), max(len(edges) - 1, 0)), np.int32)
    for row, rule in enumerate(rules):
        start = table.loc[table["rule"] == rule, "start"].to_numpy()
        found[row] = np.histogram(start, edges)[0] if len(edges) > 1 else 0
    return found


def around(span: Window, whole: Window, shown: Window) -> Window:
    """Return the window to jump to: what is shown if the span stands clear in it, else its surroundings."""
    length, width = span[1] - span[0], shown[1] - shown[0]
    if shown[0] <= span[0] and span[1] <= shown[1] and width <= 40 * length:
        return shown
    wanted = int(min(max(20 * length, (whole[1] - whole[0]) // 20, 1), whole[1] - whole[0]))
    start = min(max(whole[0], (span[0] + span[1] - wanted) // 2), whole[1] - wanted)
    return (start, start + wanted)


def row_of(table: pd.DataFrame, rule: str, entity: str, start: int) -> int | None:
    """Return the row of an anomaly in a newer table, None when it is not found any more."""
    same = table.index[(table["rule"] == rule) & (table["entity"] == entity) & (table["start"] == start)]
    return int(same[0]) if len(same) else None
