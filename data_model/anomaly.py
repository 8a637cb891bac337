"""An anomaly: something a rule found, at a place and a time, with a score and a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import pandas as pd


class Kind(StrEnum):
    """What kind of entity an anomaly lies in."""

    SCALAR = "scalar"
    LAYER = "layer"
    FILTER = "filter"
    CLASS = "class"
    IMAGE = "image"


class Standing(StrEnum):
    """What a finding is worth for an episode (see `episodes`).

    A `CERTAIN` one (something that is never right) and a `STRONG` one make an episode by themselves, a `WEAK` one does
    in company of another, and a `WITNESS` only tells what went along with it.
    """

    CERTAIN = "certain"
    STRONG = "strong"
    WEAK = "weak"
    WITNESS = "witness"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One finding of one rule.

    `start` and `stop` are the iterations [start, stop) it spans. `index` is the entity's number among its
    kind (position of the scalar, layer or class, number of the filter over the network, position of the image
    in the validation results; of what lies in no single one, -1). `score` is the rule's own measure of how unusual it
    is; scores of different rules do not compare. `standing` says whether it makes an episode. `better` says that it is
    no harm by itself, such as a loss that falls.
    """

    rule: str
    kind: Kind
    entity: str
    index: int
    start: int
    stop: int
    score: float
    message: str
    standing: Standing = Standing.WITNESS
    better: bool = False

    def clip(self, iterations: tuple[int, int] | None) -> Anomaly | None:
        """Return the part inside `iterations` [start, stop), or None where nothing of it lies inside."""
        if iterations is None:
            return self
        start, stop = max(self.start, iterations[0]), min(self.stop, iterations[1])
        if start >= stop:
            return None
        return self if (start, stop) == (self.start, self.stop) else replace(self, start=start, stop=stop)


def filter_name(layer: str, number: int) -> str:
    """Return how a filter is called: its layer, and its number within the layer."""
    return f"{layer}[{number}]"


COLUMNS = {
    "rule": "str",
    "kind": "str",
    "entity": "str",
    "start": "int64",
    "stop": "int64",
    "score": "float64",
    "message": "str",
}
"""The columns of the table of anomalies and their dtypes, the same when there is not a single one."""


def in_order(anomalies: Iterable[Anomaly]) -> list[Anomaly]:
    """Sort anomalies by time, then by rule and entity, so that a table never depends on who found them
    first."""
    return sorted(anomalies, key=lambda found: (found.start, found.rule, found.index, found.stop))


def to_frame(anomalies: Iterable[Anomaly]) -> pd.DataFrame:
    """Return anomalies as a table with the columns and dtypes of `COLUMNS`, one row each, in the order
    given."""
    rows = list(anomalies)
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    columns["kind"] = [str(row.kind) for row in rows]
    return pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in COLUMNS.items()})
