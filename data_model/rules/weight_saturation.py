"""Weights of one layer that drift, spread, collapse or pile up at a bound."""

from __future__ import annotations

from typing import ClassVar

import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, evidence, times
from deeptracker.data_model.layer_series import WEIGHT
from deeptracker.data_model.layer_watch import LayerWatch

WORDS = {one.name: one.words for one in WEIGHT}


class WeightSaturation(BlockRule):
    """A layer's weights grow, shrink or change their shape, unlike the other layers' and its own past.

    Saturation shows as a range that shrinks against the spread while the norm grows; collapse as a norm that shrinks.
    """

    name = param.String(default="weight_saturation", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "Weight saturation or drift"

    def follow(self) -> LayerWatch:
        """Return what follows a growing run."""
        return LayerWatch(self, WEIGHT, together=False)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        moved = times(alarm, logarithmic=False)
        return f"{WORDS[alarm.series]} in {entity} {moved} a block, apart from the other layers ({evidence(alarm)})"
