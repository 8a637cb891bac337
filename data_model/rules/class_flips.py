"""Many images flip at one validation, far more than at those before: of one class, or of all."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.flip_counts import FlipCounts, surprise
from deeptracker.data_model.rules.base import Rule, RunData, Window, clip, spans


class _SuddenFlips(Rule):
    """What both rules share: the counts, the test, and one anomaly per validation and class that passes."""

    source: ClassVar[str] = "Liu et al., DeepTracker, ACM TIST 2018 (anomalous classes); negative binomial counts"

    risk = param.Number(
        default=1e-3, bounds=(1e-12, 0.5), doc="Probability of a false alarm at a validation, shared by all classes."
    )
    factor = param.Number(
        default=2.0, bounds=(1, 1000), doc="How many times as many images as expected must flip, at least."
    )
    fewest_images = param.Integer(default=3, bounds=(1, 10_000), doc="Images that must flip, at least.")
    past = param.Integer(default=20, bounds=(2, 1000), doc="Validations before it that a validation is compared with.")
    fewest = param.Integer(default=10, bounds=(2, 1000), doc="Validations that must lie before it.")

    def _counts(self, run: RunData) -> FlipCounts:
        return run.flip_counts()

    def _entity(self, run: RunData, number: int) -> tuple[str, str]:
        """Return what is named in the table, and what the images are called in the message."""
        raise NotImplementedError

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return one anomaly per validation and class, to the next validation; score = log p / log of the risk."""
        counts = self._counts(run)
        risk = self.risk / max(1, counts.flipped.shape[1])
        judged = surprise(counts, self.past, self.fewest, risk)
        enough = counts.flipped >= np.maximum(self.fewest_images, self.factor * np.nan_to_num(judged.expected))
        start, stop = spans(np.asarray(counts.iteration, np.int64))
        anomalies = []
        for validation, number in np.argwhere((judged.p_value < risk) & enough):
            entity, images = self._entity(run, int(number))
            flipped, forgotten = counts.flipped[validation, number], counts.forgotten[validation, number]
            message = (
                f"{flipped:,} of {counts.judged[validation, number]:,} images{images} flipped at once "
                f"({forgotten:,} forgotten, {flipped - forgotten:,} learned), "
                f"{judged.expected[validation, number]:.2g} were to be expected"
            )
            score = np.log(max(judged.p_value[validation, number], 1e-300)) / np.log(risk)
            span = (start[validation], stop[validation])
            anomalies.append(self.anomaly(entity, int(number), span, score, message))
        return clip(anomalies, iterations)


class ClassFlips(_SuddenFlips):
    """Far more images of a class flip at a validation than at those before, and than other classes' do."""

    name = param.String(default="class_flips", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.CLASS
    title: ClassVar[str] = "Sudden flips of a class"

    def _entity(self, run: RunData, number: int) -> tuple[str, str]:
        name = run.class_names[number]
        return name, f" of class {name}"


class ValidationFlips(_SuddenFlips):
    """Far more images, of whatever class, flip at a validation than at those before."""

    name = param.String(default="validation_flips", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Sudden flips overall"

    def _counts(self, run: RunData) -> FlipCounts:
        return super()._counts(run).together()

    def _entity(self, run: RunData, number: int) -> tuple[str, str]:
        return "validation", ""
