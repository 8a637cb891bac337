"""Validation results change more from one validation to the next than they did before."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, evidence, times
from deeptracker.data_model.rules.base import RunData
from deeptracker.data_model.rules.performance import OVERALL
from deeptracker.data_model.validation_watch import Floats, Ints, ValidationWatch, log_odds

AT_ONCE = 64
"""Validations that are read at once."""


def churn(run: RunData, since: int) -> tuple[Ints, Ints, Floats]:
    """Return start and stop of the validations from iteration `since` on, and their churn, (validations, 1).

    It is the logarithm of the mean, over the images of both, of how far the log-odds of the true class have moved since
    the validation before; NaN at the first one.
    """
    results = run.validation
    iteration = np.asarray(results["iteration"].values, np.int64)
    first = int(np.searchsorted(iteration, since))
    moved = np.full(len(iteration), np.nan)
    for begin in range(max(first - 1, 0), len(iteration) - 1, AT_ONCE):
        rows = results["probability"].isel(validation=slice(begin, begin + AT_ONCE + 1)).values
        steps = np.abs(np.diff(log_odds(np.asarray(rows, np.float64)), axis=0))
        both = np.isfinite(steps)
        total = np.where(both, steps, 0).sum(axis=1)
        moved[begin + 1 : begin + len(rows)] = total / np.maximum(both.sum(axis=1), 1)
    start, moved = iteration[first:], moved[first:]
    return start, start + 1, np.log(np.where(moved > 0, moved, np.nan))[:, None]


class PredictionChurn(BlockRule):
    """The answers to the same images move more between two validations than they did before: an unsteady network."""

    name = param.String(default="prediction_churn", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Unsteady answers"
    whole: ClassVar[str] = OVERALL
    sided: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Churn of Milani Fard et al. (2016), of probabilities; judged by a moderated robust z (Smyth 2004) beyond "
        "Student's t and the tail of its own past (Siffer et al. 2017)"
    )

    def follow(self) -> ValidationWatch:
        """Return what follows a growing run."""
        return ValidationWatch(
            self, churn, lambda run: ["churn"], lambda run: [OVERALL] if run.class_names else [], 0.05, shared=True
        )

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        return f"what moves in the answers between two validations {times(alarm)} ({evidence(alarm)})"
