"""Validation loss rises above the training loss, further than it has been."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, evidence
from deeptracker.data_model.layer_series import log
from deeptracker.data_model.rules.base import RunData
from deeptracker.data_model.rules.loss_change import training_losses
from deeptracker.data_model.rules.performance import OVERALL
from deeptracker.data_model.validation_watch import Floats, Ints, ValidationWatch, per_validation

MOST = 1000
"""The training loss is averaged over the iterations since the validation before, but over no more than these."""


def gap(run: RunData, since: int) -> tuple[Ints, Ints, Floats]:
    """Return start and stop of validations, and ln(validation loss / training loss since the last one)."""
    start, stop, loss = per_validation(run, OVERALL, "loss", since)
    name = training_losses(run)[0]
    series = run.scalars[name]
    iteration = np.asarray(series["iteration"].values, np.int64)
    if len(start) == 0:
        return start, stop, loss
    before = np.append(since - 1 if since else start[0] - MOST, start[:-1])
    last = np.searchsorted(iteration, start, "right")
    first = np.searchsorted(iteration, np.maximum(before, start - MOST), "right")
    low = int(first.min(initial=len(iteration)))
    values = np.asarray(series.isel(iteration=slice(low, int(last.max(initial=low)))).values, np.float64)
    means = [_mean(values[begin - low : end - low]) for begin, end in zip(first, last, strict=True)]
    trained = np.array(means).reshape(-1, 1)
    return start, stop, np.where(trained > 0, log(loss) - log(trained), np.nan)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


class Overfitting(BlockRule):
    """The validation loss leaves the training loss behind: the gap is wider than in the validations before."""

    name = param.String(default="overfitting", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Overfitting"
    source: ClassVar[str] = "SageMaker Debugger, Overfit ((validation - train) / train), against the run's own past"
    whole: ClassVar[str] = OVERALL
    sided: ClassVar[bool] = True

    def follow(self) -> ValidationWatch:
        """Return what follows a growing run."""
        entities = lambda run: [OVERALL] if run.class_names and training_losses(run) else []  # noqa: E731
        return ValidationWatch(self, gap, lambda run: ["gap"], entities, 0.03, shared=True)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        now, before = np.exp(alarm.value), np.exp(alarm.middle)
        return f"validation loss is {now:.3g} times the training loss, after {before:.3g} times ({evidence(alarm)})"
