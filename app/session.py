"""What one browser tab holds: the run, what is selected in it, the shared axis and the theme."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pandas as pd
import param

from deeptracker.app.axes import Axes, Window
from deeptracker.app.landmarks import Landmark, landmarks
from deeptracker.app.theme import THEMES, Theme
from deeptracker.data_model.selection import Selection

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

SHARE_OF_TIME = 0.05
"""Searching a growing run for anomalies takes at most about this share of the session's time."""


class Session(param.Parameterized):
    """The one thing every view gets: it reads `run` and `selection`, and draws on `axes.iterations`.

    `run` (a Run) and `selection` (a Selection, shared by all views) stay the same as long as the tab is open.
    """

    theme: param.Selector[str] = param.Selector(
        default="light", objects=sorted(THEMES), doc="Colours of page and plots."
    )

    def __init__(self, run: Run, selection: Selection | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.run, self.selection = run, selection or Selection()
        self.axes = Axes(run, self.selection)
        self._anomalies: pd.DataFrame | None = None
        self._landmarks: list[Landmark] = []
        self._landmarks_version = -1
        self._searched_version, self._searched_at, self._search_seconds = -1, 0.0, 0.0

    @property
    def colors(self) -> Theme:
        """The colours of the theme in use."""
        return THEMES[self.theme]

    @property
    def window(self) -> Window:
        """The iterations [start, stop) on screen."""
        return self.axes.window

    def anomalies(self) -> pd.DataFrame:
        """Return the run's anomalies [rule, kind, entity, start, stop, score, message], once per version.

        While the run is growing the search rests for twenty times as long as it took, and what it found last
        stands until then.
        """
        version = self.run.version
        rest = self._search_seconds / SHARE_OF_TIME
        resting = self.run.state == "recording" and time.monotonic() - self._searched_at < rest
        if self._anomalies is None or (version != self._searched_version and not resting):
            started = time.monotonic()
            self._anomalies = self.run.anomalies()
            self._searched_version, self._searched_at = version, time.monotonic()
            self._search_seconds = self._searched_at - started
        return self._anomalies

    def landmarks(self) -> list[Landmark]:
        """Return the iterations at which the learning rate took a step, in order."""
        if self._landmarks_version != self.run.version:
            self._landmarks = landmarks(self.run)
            self._landmarks_version = self.run.version
        return self._landmarks

    def close(self) -> None:
        """Let go of the run: no watcher of this session stays behind."""
        self.axes.close()
