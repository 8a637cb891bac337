"""What all layers do together: the whole network's gradients, steps or weights change at once."""

from __future__ import annotations

from typing import ClassVar

import param

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.block_rule import Alarm, BlockRule, evidence, times
from deeptracker.data_model.layer_series import GRADIENT, UPDATE, WEIGHT
from deeptracker.data_model.layer_watch import LayerWatch

SERIES = [*GRADIENT, *UPDATE, *WEIGHT]
SIZES = {one.name for one in [*GRADIENT, *UPDATE] if one.name.startswith(("gradient.", "update."))}
BY_NAME = {one.name: one for one in SERIES}


class NetworkChange(BlockRule):
    """The middle of all layers changes: a learning rate too high, corrupt data, another kind of batches."""

    name = param.String(default="network_change", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Change of the whole network"

    def follow(self) -> LayerWatch:
        """Return what follows a growing run."""
        return LayerWatch(self, SERIES, together=True)

    def say(self, entity: str, alarm: Alarm) -> str:
        """Return the message of a finding."""
        series = BY_NAME[alarm.series]
        return f"{series.words} of {entity} {times(alarm, series.logarithmic)} ({evidence(alarm)})"

    def better(self, alarm: Alarm) -> bool:
        """Return whether gradients or steps became smaller, as they do where a loss falls."""
        return alarm.z < 0 and alarm.series in SIZES
