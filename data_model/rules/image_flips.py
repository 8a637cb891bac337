"""Images whose answer flips right after, or right before, a long stretch of equal answers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.image_events import Flips, flips
from deeptracker.data_model.rules.base import Rule, RunData, Window, clip, spans

LADDER = (3, 5, 10, 20, 40, 80)


def default_stable(validations: int) -> int:
    """Return how many equal answers make a stretch long, for a run with this many validations so far.

    The paper's 20, 40 and 80, continued downwards, such that a stretch is at most a tenth of the run (and at
    least 3): 10 from 100 validations on, 20 from 200, 80 from 800. It is a ladder so that it steps seldom
    while a run grows.
    """
    return max((step for step in LADDER if step * 10 <= validations), default=LADDER[0])


class _FlipRule(Rule):
    """What the left and the right rule share: k, the flips, and one anomaly per flip that passes."""

    kind: ClassVar[Kind] = Kind.IMAGE
    source: ClassVar[str] = "Liu et al., DeepTracker, ACM TIST 2018 (arXiv 1808.08531), with k = 20, 40, 60, 80"

    stable = param.Integer(
        default=None,
        bounds=(1, 1000),
        allow_None=True,
        doc="Equal answers in a row that make a stretch long (k); None: by the number of validations.",
    )

    def _passing(self, found: Flips, stable: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which flips pass, and how long each one's stretch was."""
        raise NotImplementedError

    def _message(self, image: str, learned: bool, length: int) -> str:
        raise NotImplementedError

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return one anomaly per flip that passes, from its validation to the next; score = length / k."""
        anomalies: list[Anomaly] = []
        for numbers, results in run.result_portions():
            stable = self.stable or default_stable(len(results.iteration))
            found = flips(results.correct)
            passes, lengths = self._passing(found, stable)
            start, stop = spans(np.asarray(results.iteration, np.int64))
            for position in np.flatnonzero(passes):
                validation, image = int(found.validation[position]), int(found.image[position])
                length, name = int(lengths[position]), str(results.image[image])
                message = self._message(name, bool(found.learned[position]), length)
                span = (start[validation], stop[validation])
                anomalies.append(self.anomaly(name, int(numbers[image]), span, length / stable, message))
        return clip(anomalies, iterations)


class LeftFlip(_FlipRule):
    """An image flips after k validations with equal answers."""

    name = param.String(default="left_flip", constant=True, doc="The rule's name in the table of anomalies.")
    title: ClassVar[str] = "Flip after a stable stretch (left rule)"

    def _passing(self, found: Flips, stable: int) -> tuple[np.ndarray, np.ndarray]:
        return found.left(stable), found.before

    def _message(self, image: str, learned: bool, length: int) -> str:
        event, state = ("learned", "wrong") if learned else ("forgotten", "right")
        return f"image {image} was {event} after {length:,} validations {state}"


class RightFlip(_FlipRule):
    """An image flips, and then k validations have equal answers; known only when those are there."""

    name = param.String(default="right_flip", constant=True, doc="The rule's name in the table of anomalies.")
    title: ClassVar[str] = "Flip into a stable stretch (right rule)"

    def _passing(self, found: Flips, stable: int) -> tuple[np.ndarray, np.ndarray]:
        return found.right(stable), found.after

    def _message(self, image: str, learned: bool, length: int) -> str:
        event, state = ("learned", "right") if learned else ("forgotten", "wrong")
        return f"image {image} was {event} and stayed {state} for {length:,} validations"
