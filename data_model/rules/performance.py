"""Validation gets worse than it has been: overall, and in one class apart from the others."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, by_factor, evidence, times
from deeptracker.data_model.layer_series import log, middle_mean
from deeptracker.data_model.rules.base import RunData
from deeptracker.data_model.validation_watch import Floats, Ints, ValidationWatch, log_odds, per_validation
from deeptracker.data_model.vocabulary import CLASSES

OVERALL = "validation"
LOSS, COMMON, CLASS = "loss", "probability of the true class", "class"


def class_odds(run: RunData, since: int) -> tuple[Ints, Ints, Floats, Floats]:
    """Return start and stop of validations, the log-odds of the true class that classes have in common, and their own.

    (validations, 1) and (validations, classes), both negative so that larger is worse.
    """
    start, stop, probability = per_validation(run, CLASSES, "probability", since)
    worse = -log_odds(probability)
    if worse.shape[1] == 0:
        return start, stop, worse, worse
    common = middle_mean(worse)
    return start, stop, common, worse - common


def _overall(run: RunData, since: int) -> tuple[Ints, Ints, Floats]:
    start, stop, common, _ = class_odds(run, since)
    _, _, loss = per_validation(run, OVERALL, "loss", since)
    return start, stop, np.concatenate([log(loss), common], axis=1)


def _own(run: RunData, since: int) -> tuple[Ints, Ints, Floats]:
    start, stop, _, own = class_odds(run, since)
    return start, stop, own


def _validated(run: RunData) -> list[str]:
    return [OVERALL] if run.class_names else []


class PerformanceDrop(BlockRule):
    """A validation is far worse than those before it, beyond their noise."""

    name = param.String(default="performance_drop", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Drop of the performance"
    whole: ClassVar[str] = OVERALL
    sided: ClassVar[bool] = True

    def follow(self) -> ValidationWatch:
        """Return what follows a growing run."""
        return ValidationWatch(self, _overall, lambda run: [LOSS, COMMON], _validated, 0.03, shared=True)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        if alarm.series == LOSS:
            return f"validation loss {times(alarm)} ({evidence(alarm)})"
        fell = by_factor(alarm.middle - alarm.value)
        return f"the odds of the true class, in the middle of all classes, {fell} ({evidence(alarm)})"


class ClassDrop(BlockRule):
    """A class is far worse than in the validations before, apart from what all classes do."""

    name = param.String(default="class_drop", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.CLASS
    title: ClassVar[str] = "Drop of a class"
    sided: ClassVar[bool] = True

    def follow(self) -> ValidationWatch:
        """Return what follows a growing run."""
        names = lambda run: [CLASS] * len(run.class_names)  # noqa: E731
        return ValidationWatch(self, _own, names, lambda run: list(run.class_names), 0.1, shared=False)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        fell = by_factor(alarm.middle - alarm.value)
        return f"the odds that class {entity} is recognised {fell}, apart from the other classes ({evidence(alarm)})"
