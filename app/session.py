"""What one browser tab holds: the run, what is selected in it, the shared axis and the theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import param

from deeptracker.app.axes import Axes, Window
from deeptracker.app.compared import Compared, Find
from deeptracker.app.history import History
from deeptracker.app.landmarks import Landmark, landmarks
from deeptracker.app.search import AnomalySearch
from deeptracker.app.theme import THEMES, Theme
from deeptracker.data_model.selection import Selection

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run


class Session(param.Parameterized):
    """The one thing every view gets: it reads `run` and `selection`, and draws on `axes.iterations`.

    `run` (a Run) and `selection` (a Selection, shared by all views) stay the same as long as the tab is open. `find`
    opens another run by its key, to be laid over this one.
    """

    theme: param.Selector[str] = param.Selector(
        default="light", objects=sorted(THEMES), doc="Colours of page and plots."
    )

    def __init__(self, run: Run, selection: Selection | None = None, find: Find | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.run, self.selection = run, selection or Selection()
        self.axes = Axes(run, self.selection)
        self.search = AnomalySearch(run)
        self.history = History(self.selection, lambda: self.search.version, lambda: self.axes.growing)
        self.compared = Compared(self.selection, find)
        self._landmarks: list[Landmark] = []
        self._landmarks_version = -1

    @property
    def colors(self) -> Theme:
        """The colours of the theme in use."""
        return THEMES[self.theme]

    @property
    def window(self) -> Window:
        """The iterations [start, stop) on screen."""
        return self.axes.window

    def anomalies(self) -> pd.DataFrame:
        """Return the anomalies found last [rule, kind, entity, start, stop, score, message].

        The search runs beside the page: watch `search.version` to hear of what it finds.
        """
        self.search.start()
        return self.search.table

    def landmarks(self) -> list[Landmark]:
        """Return the iterations at which the learning rate took a step, in order."""
        if self._landmarks_version != self.run.version:
            self._landmarks = landmarks(self.run)
            self._landmarks_version = self.run.version
        return self._landmarks

    def close(self) -> None:
        """Let go of the run: no watcher of this session stays behind."""
        self.history.close()
        self.compared.close()
        self.axes.close()
        self.search.close()
