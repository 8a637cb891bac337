"""The runs that are laid over the one shown: opened by their key, each with a colour of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import panel_material_ui as pmui
import param

from deeptracker.app.later import on_page
from deeptracker.app.theme import Theme
from deeptracker.app.timelines import EMPTY, Timeline, training_scalar
from deeptracker.data_model.comparison import compare_runs
from deeptracker.data_model.errors import DeepTrackerError
from deeptracker.data_model.selection import Selection
from deeptracker.data_model.vocabulary import SCALARS

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

logger = logging.getLogger("deeptracker")

Find = Callable[[str], "Run"]
MOST = 6
"""Runs laid over one other; more lines than that cannot be told apart."""
BUCKETS = 400
OWN_COLORS = 2
"""Colours of the theme that the run itself takes: the others have those after them."""


@dataclass(frozen=True)
class Other:
    """A run laid over the one shown: its `key` in links, the run, or the `problem` that keeps it from being shown."""

    key: str
    run: Run | None
    problem: str = ""

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return str(self.run.name) if self.run is not None else self.key


def color_of(theme: Theme, number: int) -> str:
    """Return the colour of the run laid over as the so-manieth."""
    free = theme.categorical[OWN_COLORS:]
    return free[number % len(free)]


class Compared(param.Parameterized):
    """Opens the runs that `selection.runs` names. Watch `version`."""

    version = param.Integer(default=0, bounds=(0, None), doc="Counts the changes of which runs are laid over.")

    def __init__(self, selection: Selection, find: Find | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.selection, self._find = selection, find
        self._known: dict[str, Other] = {}
        self._watcher = selection.param.watch(lambda event: self._changed(), ["runs"])
        self._changed()

    @property
    def others(self) -> list[Other]:
        """The runs laid over, in the order of their picking."""
        return [self._known[key] for key in self.selection.runs[:MOST]]

    def refresh(self) -> None:
        """Bring them up to date, as far as they can be read."""
        for other in self.others:
            if other.run is not None:
                try:
                    other.run.refresh()
                except DeepTrackerError as error:
                    logger.info("The run %r laid over another cannot be refreshed: %s", other.key, error)

    def close(self) -> None:
        """Stop watching the selection."""
        self.selection.param.unwatch(self._watcher)

    def _changed(self) -> None:
        for key in self.selection.runs[:MOST]:
            if key not in self._known or self._known[key].problem:
                self._known[key] = self._open(key)
        self.version += 1

    def _open(self, key: str) -> Other:
        if self._find is None:
            return Other(key, None, "Other runs are found in the served folders only.")
        try:
            return Other(key, self._find(key))
        except Exception as error:
            if not isinstance(error, DeepTrackerError):
                logger.error("The run %r cannot be laid over another.", key, exc_info=error)
            return Other(key, None, str(error) or type(error).__name__)


def difference_timeline(run: Run, other: Run) -> Timeline:
    """Return how far the training loss of another run lies from a run's, over the iterations that both have.

    `low` and `high` are the difference less and plus its noise, as far as the comparison knows it. Raises QueryError
    where the two have nothing in common.
    """
    name = training_scalar(run)
    if not name or name not in other.scalar_names:
        return EMPTY
    found = compare_runs([run, other]).series(name, SCALARS, buckets=BUCKETS).isel(group=1)
    value, z = (np.asarray(found[part].values, np.float64) for part in ("difference", "z"))
    noise = np.divide(np.abs(value), np.abs(z), out=np.zeros_like(value), where=np.abs(z) > 0)
    middle = (np.asarray(found["start"].values) + np.asarray(found["stop"].values)) / 2
    known = np.isfinite(value)
    return Timeline(name, *(part[known] for part in (middle, value - noise, value + noise, value)))


class CompareButton:
    """Switches between laying runs over each other and showing how far they differ; there only while some are."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.button: Any = pmui.Toggle(
            label="Difference",
            value=selection.difference,
            size="small",
            margin=0,
            align="center",
            height=26,
            visible=bool(selection.runs),
            description="Show how far the loss of the others lies from this one's",
            css_classes=["difference"],
            sx={"fontSize": "12px", "padding": "0 8px", "whiteSpace": "nowrap", "flex": "none"},
        )
        self.button.param.watch(lambda event: on_page(lambda: setattr(selection, "difference", event.new)), ["value"])
        self._watcher = selection.param.watch(lambda *events: on_page(self.update), ["runs", "difference"])

    def update(self) -> None:
        """Take over what is selected."""
        self.button.param.update(value=self.selection.difference, visible=bool(self.selection.runs))

    def close(self) -> None:
        """Stop watching."""
        self.selection.param.unwatch(self._watcher)
