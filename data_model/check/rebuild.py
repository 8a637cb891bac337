"""What a file must have held, made anew from what it follows from: the root, or the records below a level."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.check.inventory import Stored, level_of
from deeptracker.data_model.check.verify import encoded
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.coordinates import coordinates
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.images import Images
from deeptracker.data_model.node_metadata import node_text
from deeptracker.data_model.presence import UNKNOWN, Coordinates, Presence
from deeptracker.data_model.reduction import FACTOR
from deeptracker.data_model.state_layout import STATES, span_of
from deeptracker.data_model.vocabulary import CLASSES

ROOT_SOURCE = "the run's root"
VALIDATIONS_SOURCE = "the validations"

Make = Callable[[str, Coordinates], NDArray[Any]]
"""Returns the values of a file of an array, from its corner on, in the order of the array."""


class Rebuilder:
    """Makes files of one commit anew."""

    def __init__(self, commit: Commit) -> None:
        """Take the commit; what is read from it is read when it is needed."""
        self._commit = commit
        self._nodes = commit.nodes
        self._presence = Presence(commit.nodes, commit.manifest.widths)

    @cached_property
    def _images(self) -> Images:
        return Images(self._commit)

    @cached_property
    def _names(self) -> dict[str, NDArray[Any]]:
        return coordinates(self._commit.manifest)

    def source(self, stored: Stored) -> str:
        """Return, in words, what a file can be made anew from; empty where from nothing."""
        if stored.is_metadata:
            return ROOT_SOURCE
        found = self._maker(stored)
        return found[0] if found else ""

    def content(self, stored: Stored) -> bytes:
        """Return the file as it must have been; RunFormatError where what it follows from is damaged itself."""
        if stored.is_metadata:
            return node_text(self._nodes[stored.node])
        found = self._maker(stored)
        if found is None or stored.coordinates is None:
            raise ValueError(f"{stored.name} follows from nothing else")
        return encoded(found[1](stored.node, stored.coordinates), self._nodes[stored.node], stored.coordinates)

    def values(self, stored: Stored) -> NDArray[Any] | None:
        """Return the values that a file must hold; None where they follow from nothing else."""
        found = self._maker(stored)
        if found is None or stored.coordinates is None:
            return None
        return found[1](stored.node, stored.coordinates)

    def _maker(self, stored: Stored) -> tuple[str, Make] | None:
        path = stored.node
        if stored.coordinates is None:
            return None
        if path in self._names:
            return ROOT_SOURCE, self._name
        if path.endswith("/iteration"):
            return ROOT_SOURCE, self._iterations
        if stored.log == STATES or path == f"{CLASSES}/level_0/value":
            return VALIDATIONS_SOURCE, self._states if stored.log == STATES else self._classes
        if path.endswith("/summary") and stored.log in ENTITY:
            below = (level_of(path) or 0) - 1
            return f"level {below} below it" if below else "the records", self._level
        return None

    def _name(self, path: str, place: Coordinates) -> NDArray[Any]:
        return self._names[path][slice(*self._presence.grid(path).span(place, 0))]

    def _iterations(self, path: str, place: Coordinates) -> NDArray[Any]:
        axis = self._commit.manifest.logs[path.split("/")[0]].axis
        return axis.iterations(*self._presence.grid(path).span(place, 0))

    def _level(self, path: str, place: Coordinates) -> NDArray[Any]:
        """Summarise what lies below, as while it was recorded: without entities that came only later."""
        grid, level = self._presence.grid(path), level_of(path) or 0
        reader = self._commit.families[path.split("/")[0]]
        (first, stop), (low, high) = grid.span(place, 3), grid.span(place, 2)
        width = self._presence.width(path, place)
        entities = slice(low, high if width == UNKNOWN else min(high, width))
        statistics = range(*grid.span(place, 0))
        # Read as queries do, series by series as they lie in the file: turning them takes longer than all the rest.
        parts = [reader.summaries(level - 1, first, stop, one, entities, merged=FACTOR) for one in statistics]
        return np.stack([part.transpose(1, 2, 0) for part in parts])

    def _states(self, path: str, place: Coordinates) -> NDArray[Any]:
        """Find the states of images, or count them, in what the validations say."""
        grid, level = self._presence.grid(path), level_of(path) or 0
        (low, high), (first, stop) = grid.span(place, grid.entity_axis), grid.span(place, grid.axes - 1)
        width = self._presence.width(path, place)
        high = high if width == UNKNOWN else min(high, width)
        span = span_of(int(path.rpartition("_")[2]))
        images = (low * span, min(high * span, self._images.raw_states().images))
        return self._images.raw_states().block(images, span, (first, stop), level, coded=grid.axes == 2)

    def _classes(self, path: str, place: Coordinates) -> NDArray[Any]:
        grid = self._presence.grid(path)
        width = self._presence.width(path, place)
        (low, high), records = grid.span(place, 1), slice(*grid.span(place, 2))
        series = self._images.class_series()[records, :, low : high if width == UNKNOWN else min(high, width)]
        return np.moveaxis(series, 0, -1)[slice(*grid.span(place, 0))]
