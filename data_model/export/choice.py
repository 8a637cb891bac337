"""What of a run is exported: a family, some of its entities and statistics, a window, records or buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from deeptracker.data_model.blocks import Blocks
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.families import SNAPSHOTS, VALIDATION
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS, SCALARS

IMAGES = "images"

NARROWING: dict[str, tuple[str, ...]] = {
    SCALARS: (),
    LAYERS: ("layers",),
    ACTIVATIONS: ("layers",),
    FILTERS: ("layers", "filters"),
    CLASSES: ("classes",),
    VALIDATION: ("classes", "images"),
    IMAGES: ("classes", "images"),
    SNAPSHOTS: ("layers",),
}
"""The families that can be exported, and by what each can be narrowed down."""

SUMMARISED = (SCALARS, LAYERS, ACTIVATIONS, FILTERS, CLASSES, VALIDATION, IMAGES)
"""The families that have buckets; of validations it is the series of all images together, of images their states."""

_OF_NETWORK = (LAYERS, ACTIVATIONS, FILTERS)


class Chosen(TypedDict, total=False):
    """The keywords of a `Choice`, apart from the family."""

    statistics: Sequence[str] | None
    layers: Sequence[str] | None
    filters: Sequence[int] | None
    classes: Sequence[str] | None
    images: Sequence[str] | None
    blocks: Blocks | None
    iterations: tuple[int | None, int | None] | None
    buckets: int | None
    rows: int | None


@dataclass(frozen=True)
class Choice:
    """One family, and what is wanted of it; None stands for all.

    `iterations` [start, stop): records at these iterations; with `buckets`, the buckets that touch them, as `Run.query`
    gives them. `blocks` asks for the envelope of blocks of the network instead of its layers or filters, `rows` for
    at least so many rows of images, whose states are counted.
    """

    family: str
    statistics: Sequence[str] | None = None
    layers: Sequence[str] | None = None
    filters: Sequence[int] | None = None
    classes: Sequence[str] | None = None
    images: Sequence[str] | None = None
    blocks: Blocks | None = None
    iterations: tuple[int | None, int | None] | None = None
    buckets: int | None = None
    rows: int | None = None

    def check(self) -> None:
        """Raise QueryError for what cannot be asked of the family."""
        if self.family not in NARROWING:
            raise QueryError(f"There is no family {self.family!r}; allowed are {', '.join(NARROWING)}.")
        if self.buckets is not None and self.family not in SUMMARISED:
            raise QueryError(f"{self.family} have no buckets; leave them out, or ask for {', '.join(SUMMARISED)}.")
        if self.family == IMAGES and self.buckets is None and self.iterations is not None:
            raise QueryError("Images have no iterations; leave the window out, or ask for buckets: counts of states.")
        if self.rows is not None and (self.family != IMAGES or self.buckets is None):
            raise QueryError("Rows are of the states of images; ask for them with buckets, and family images.")
        if self.family == IMAGES and self.buckets is not None and self.statistics is not None:
            raise QueryError(
                "The states of images are right, wrong, missing, learned and forgotten, and come together."
            )
        allowed = self._allowed()
        for name in ("layers", "filters", "classes", "images", "blocks"):
            if getattr(self, name) is not None and name not in allowed:
                kind = "summaries" if self.buckets is not None else "records"
                hint = f"it can be by {' or '.join(allowed)}" if allowed else "leave it out"
                raise QueryError(f"A choice of {name} does not narrow down {kind} of {self.family}; {hint}.")
        given = [name for name in ("layers", "filters", "blocks") if getattr(self, name) is not None]
        if len(given) > 1:
            raise QueryError(f"Give one of {' and '.join(given)}, not both.")

    def window(self, whole: tuple[int, int]) -> tuple[int, int]:
        """Return the window chosen, its open ends those of the whole run."""
        start, stop = self.iterations or (None, None)
        return whole[0] if start is None else start, whole[1] if stop is None else stop

    def _allowed(self) -> tuple[str, ...]:
        if self.buckets is None:
            return NARROWING[self.family]
        if self.family == VALIDATION:
            return ()
        return (*NARROWING[self.family], *(["blocks"] if self.family in _OF_NETWORK else []))

    def named(self, what: str, known: Sequence[str]) -> list[str]:
        """Return the statistics that are wanted of those there are, in their order; QueryError for others."""
        if self.statistics is None:
            return list(known)
        unknown = [name for name in self.statistics if name not in known]
        if unknown:
            raise QueryError(f"{self.family} have no {what} {unknown[0]!r}; they have {some(known)}.")
        return list(dict.fromkeys(self.statistics))


def some(names: Sequence[Any], most: int = 60) -> str:
    """Return names as a list for people, cut where it gets long."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + rest or "none"
