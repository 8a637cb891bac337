"""Gradients that explode or vanish in one layer, apart from what all layers do."""

from __future__ import annotations

from typing import ClassVar

import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, evidence, times
from deeptracker.data_model.layer_series import GRADIENT
from deeptracker.data_model.layer_watch import LayerWatch

WORDS = {one.name: one.words for one in GRADIENT}


class GradientChange(BlockRule):
    """A layer's gradient grows or shrinks, or changes its shape, unlike the other layers' and its own past."""

    name = param.String(default="gradient_change", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "Exploding or vanishing gradient"

    def follow(self) -> LayerWatch:
        """Return what follows a growing run."""
        return LayerWatch(self, GRADIENT, together=False)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        return f"{WORDS[alarm.series]} of {entity} {times(alarm)}, apart from the other layers ({evidence(alarm)})"
