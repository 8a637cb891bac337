"""How far a step moves a layer's weights, relative to the weights and to the learning rate."""

from __future__ import annotations

from typing import ClassVar

import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, evidence, times
from deeptracker.data_model.layer_series import UPDATE
from deeptracker.data_model.layer_watch import LayerWatch

WORDS = {one.name: one.words for one in UPDATE}


class UpdateRatio(BlockRule):
    """A layer's steps become larger or smaller, unlike the other layers' and its own past."""

    name = param.String(default="update_ratio", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "Update ratio"

    def follow(self) -> LayerWatch:
        """Return what follows a growing run."""
        return LayerWatch(self, UPDATE, together=False)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        return f"{WORDS[alarm.series]} of {entity} {times(alarm)}, apart from the other layers ({evidence(alarm)})"
