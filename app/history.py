"""What was selected before: undo and redo of a selection, in which a whole zoom gesture is one step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import param

from deeptracker.data_model.selection import Selection

GESTURE_SECONDS = 1.5
"""Changes of the window that follow each other faster than this are one gesture, and so one step."""
ANSWER_SECONDS = 0.15
"""What changes this soon after something else is the views' answer to it, not another deed of the user."""
MOST_STEPS = 200

State = dict[str, Any]


def state_of(selection: Selection) -> State:
    """Return all values of a selection that count as selected; the pointer's cursor does not."""
    names = [name for name in selection.param if name not in ("name", "cursor")]
    values = {name: getattr(selection, name) for name in names}
    return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}


class History(param.Parameterized):
    """The states a selection has had. Watch `version`; `made` counts the steps that were made, not those undone.

    `table` tells which search the rows of anomalies belong to: after another search a row is another anomaly.
    `growing` tells whether the window moves by itself, with a run that grows.
    """

    version = param.Integer(default=0, bounds=(0, None), doc="Counts the changes of what can be undone or redone.")

    def __init__(
        self,
        selection: Selection,
        table: Callable[[], int] = lambda: 0,
        growing: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.selection, self.made = selection, 0
        self._table, self._growing, self._clock = table, growing, clock
        self._past: list[tuple[int, State]] = []
        self._future: list[tuple[int, State]] = []
        self._now = (table(), state_of(selection))
        self._changed_at, self._changed_names = float("-inf"), frozenset[str]()
        self._going = False
        self._watcher = selection.param.watch(self._changed, list(self._now[1]))

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was taken back."""
        return bool(self._future)

    def undo(self, steps: int = 1) -> None:
        """Return to what was selected before the last step, or before several."""
        self._go(self._past, self._future, steps)

    def redo(self, steps: int = 1) -> None:
        """Take the step again that was taken back last, or several."""
        self._go(self._future, self._past, steps)

    def show(self, state: State) -> None:
        """Show a state: by undoing or redoing where it is one of those before or after, else as a new step."""
        for states, go in ((self._past, self.undo), (self._future, self.redo)):
            for steps, (_, known) in enumerate(reversed(states), 1):
                if known == state and state != self._now[1]:
                    go(steps)
                    return
        self.selection.param.update(**state)

    def close(self) -> None:
        """Stop watching the selection."""
        self.selection.param.unwatch(self._watcher)

    def _go(self, source: list[tuple[int, State]], target: list[tuple[int, State]], steps: int) -> None:
        for _ in range(min(steps, len(source))):
            target.append(self._now)
            self._now = source.pop()
        table, state = self._now
        if table != self._table():
            state = state | {"anomaly": None}
        self._going = True
        try:
            self.selection.param.update(**{k: list(v) if isinstance(v, list) else v for k, v in state.items()})
        finally:
            self._going = False
        self._amend(frozenset())
        self.version += 1

    def _changed(self, *events: Any) -> None:
        if self._going:
            return
        names = frozenset(event.name for event in events)
        if state_of(self.selection) == self._now[1]:
            return
        if self._answers(names):
            self._amend(names)
            return
        self._past = [*self._past, self._now][-MOST_STEPS:]
        self._future = []
        self.made += 1
        self._amend(names)
        self.version += 1

    def _answers(self, names: frozenset[str]) -> bool:
        """Whether a change belongs to the one before it, or is nobody's deed."""
        if names == {"anomaly"} and self._table() != self._now[0]:
            return True
        if names == {"window"} and self._growing():
            return True
        since = self._clock() - self._changed_at
        gesture = names == {"window"} == self._changed_names
        return since < (GESTURE_SECONDS if gesture else ANSWER_SECONDS)

    def _amend(self, names: frozenset[str]) -> None:
        self._now = (self._table(), state_of(self.selection))
        if not (names == {"window"} and self._growing()):
            self._changed_at, self._changed_names = self._clock(), names
