"""When to record: at every k-th iteration, with k given or chosen so that recording stays within a budget."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Literal

from deeptracker.data_model.errors import RecordingError

Every = int | Literal["auto"]

LONGEST = 1 << 16
_WINDOW = 32
_CHOOSE_EVERY = 16
_AIM = 0.9
"""Part of the budget that is aimed at: recording also costs what cannot be clocked, as values thrown out of caches."""


def choose_interval(cost: float, step: float, overhead: float, current: int = 1) -> int:
    """Return the interval at which recording costs at most `overhead` of the training's time.

    `cost` is what one record costs, `step` what one training step takes without it (both in seconds). Intervals are
    powers of two, so that they nest. A shorter one than `current` is taken only where it fits with a fifth to spare:
    else the interval would flicker.
    """
    share = cost / max(step, 1e-9)
    interval = 1
    while interval < LONGEST and share / interval > (overhead if interval >= current else 0.8 * overhead):
        interval *= 2
    return interval


class Schedule:
    """Decides which iterations are recorded. One record at iteration t with interval k stands for t to t + k."""

    def __init__(self, every: Every, overhead: float, first: int = 0, name: str = "every") -> None:
        """Start at the first multiple of the interval from iteration `first` on.

        RecordingError for an `every` or `overhead` that makes no sense.
        """
        self._name = name
        self.overhead = overhead
        self.interval, self.next = 1, 0
        self.change(every, first)
        self._costs: deque[float] = deque(maxlen=_WINDOW)
        self._steps: deque[float] = deque(maxlen=_WINDOW)
        self._recorded = 0
        self.measured: dict[str, float] = {}
        """What the interval was last chosen from: milliseconds per record and per training step."""

    def change(self, every: Every, iteration: int) -> None:
        """Take another interval, from its first multiple from `iteration` on; RecordingError for one without sense.

        "auto" goes on from the interval as it is. A resumed run goes on at the multiples it was recorded at before.
        """
        if every != "auto":
            self.interval = check_every(self._name, every)
        self.automatic = every == "auto"
        self.next = -(-iteration // self.interval) * self.interval

    def observe_step(self, seconds: float) -> None:
        """Tell how long a training step took without any recording."""
        self._steps.append(seconds)

    def observe_cost(self, seconds: float) -> bool:
        """Tell what a record cost, before `next` moves on; return whether the interval has changed because of it."""
        self._costs.append(seconds)
        self._recorded += 1
        if not self.automatic or not self._steps or self._recorded % _CHOOSE_EVERY:
            return False
        chosen = choose_interval(median(self._costs), median(self._steps), _AIM * self.overhead, self.interval)
        changed = chosen != self.interval
        self.measured = {
            "record_ms": round(1e3 * median(self._costs), 3),
            "step_ms": round(1e3 * median(self._steps), 3),
        }
        if changed and 1 in (chosen, self.interval):
            # At every iteration the weights are copied while they are measured, at longer intervals before the step.
            self._costs.clear()
        self.interval = chosen
        return changed

    @property
    def share(self) -> float:
        """What recording at this interval takes of the training's time, as far as it was measured; 0 before."""
        if not self._costs or not self._steps:
            return 0.0
        return median(self._costs) / self.interval / max(median(self._steps), 1e-9)


def check_every(name: str, every: object) -> int:
    """Return an interval that was given as a number; RecordingError when it is none."""
    if isinstance(every, int) and not isinstance(every, bool) and 1 <= every <= LONGEST:
        return every
    raise RecordingError(f'{name} is {every!r}; give "auto" or a whole number of iterations from 1 to {LONGEST}.')
