"""How many images were learned, forgotten, stayed right or stayed wrong, and which flips were outliers, over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from deeptracker.data_model.vocabulary import EVENTS

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OUTLIERS = {"left": "left_flip", "right": "right_flip"}


@dataclass(frozen=True)
class Shares:
    """Shares of the images with each event: float64 (event, bucket) in the order of `EVENTS`, over [start, stop).

    Of the images validated in a bucket; NaN where none was. `images` is how many of them there were.
    """

    start: Ints
    stop: Ints
    share: Floats
    images: Ints


def event_shares(run: Run, iterations: tuple[int, int], buckets: int) -> Shares:
    """Return the shares of all four events over iterations [start, stop), in at least so many buckets if there are.

    At an image's first validation it has not changed, so there it counts as one that stayed what it is.
    """
    if not run.validation.sizes.get("validation", 0) or not run.images.sizes.get("image", 0):
        nothing = np.empty(0, np.int64)
        return Shares(nothing, nothing, np.empty((len(EVENTS), 0)), nothing)
    found = run.image_states(iterations=iterations, rows=1, buckets=buckets)
    counts = found["count"].sum("row")
    of = {str(name): counts.sel(state=name).values.astype(np.float64) for name in counts["state"].values}
    seen = of["right"] + of["wrong"]
    events = {
        "n-y": of["learned"],
        "y-n": of["forgotten"],
        "y-y": of["right"] - of["learned"],
        "n-n": of["wrong"] - of["forgotten"],
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.stack([events[name] / seen for name in EVENTS])
    start, stop = (np.asarray(found[name].values, np.int64) for name in ("start", "stop"))
    return Shares(start, stop, share, seen.astype(np.int64))


def outlier_counts(table: pd.DataFrame, edges: Ints) -> dict[str, Ints]:
    """Count the left and the right outliers among the images that begin in each bin: int64 (bin)."""
    images = table[table["kind"] == "image"]
    return {
        side: np.histogram(images.loc[images["rule"] == rule, "start"].to_numpy(), edges)[0].astype(np.int64)
        for side, rule in OUTLIERS.items()
    }
