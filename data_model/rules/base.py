"""What a rule is: thresholds as Params, the source they come from, and `find` from a run to anomalies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.flip_counts import FlipCounts
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import Layer, Statistic

Window = tuple[int, int] | None


class RunData(Protocol):
    """The part of a run that rules read; see `deeptracker.data_model.run.Run`."""

    @property
    def iterations(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def scalar_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def scalars(self) -> xr.Dataset: ...  # noqa: D102
    @property
    def layers(self) -> xr.Dataset: ...  # noqa: D102
    @property
    def activations(self) -> xr.Dataset: ...  # noqa: D102
    @property
    def activation_statistics(self) -> Sequence[Statistic]: ...  # noqa: D102
    @property
    def filters(self) -> xr.Dataset: ...  # noqa: D102
    @property
    def filter_layer(self) -> npt.NDArray[np.int32]: ...  # noqa: D102
    @property
    def layer_list(self) -> Sequence[Layer]: ...  # noqa: D102
    @property
    def layer_statistics(self) -> Sequence[Statistic]: ...  # noqa: D102
    @property
    def class_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def validation(self) -> xr.Dataset: ...  # noqa: D102
    def query(  # noqa: D102
        self, variable: str, *, family: str | None = ..., iterations: Window = ..., buckets: int = ...
    ) -> xr.Dataset: ...
    def validation_results(self) -> ValidationResults: ...  # noqa: D102
    def flip_counts(self) -> FlipCounts: ...  # noqa: D102
    def result_portions(self) -> Iterator[tuple[npt.NDArray[np.int64], ValidationResults]]: ...  # noqa: D102


class Follower(Protocol):
    """Follows one run with one rule: each `update` looks at what is new, and returns all that was found so far."""

    def update(self, run: RunData) -> list[Anomaly]: ...  # noqa: D102


class Rule(param.Parameterized):
    """A rule of the anomaly search. A new rule is one new file with one subclass in this folder.

    A subclass sets `name` (the rule's name in the table), `kind` (of the entities it judges), `title` (for
    people) and `source` (where the rule and its thresholds come from). Its other Params are its thresholds:
    they need `doc` and `bounds`, and become its controls in the app. `landmark` marks rules that find
    landmarks, not anomalies; `standing` is what its findings are worth for an episode.

    The answer for a window is the answer for the whole run, clipped to the window: what a rule says about an
    iteration rests on what was recorded there and before (and for some rules a stated number of records
    after), never on where a query begins.
    """

    name = param.String(default="rule", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind]
    title: ClassVar[str]
    source: ClassVar[str]
    landmark: ClassVar[bool] = False
    standing: ClassVar[Standing] = Standing.WITNESS

    @abstractmethod
    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return what the rule finds in `iterations` [start, stop), or in the whole run."""

    def follow(self) -> Follower:
        """Return what follows a growing run, with the same answer as `find`; by default it searches anew each time."""
        return _Again(self)

    @classmethod
    def thresholds(cls) -> list[str]:
        """Return the names of the rule's own Params, in the order of their definition."""
        return [name for name in cls.param if name != "name"]

    def anomaly(
        self,
        entity: str,
        index: int,
        span: tuple[int, int],
        score: float,
        message: str,
        standing: Standing | None = None,
        better: bool = False,
    ) -> Anomaly:
        """Return one finding of this rule; its standing is the rule's, unless another is given."""
        begin, end = int(span[0]), int(span[1])
        worth = standing or self.standing
        return Anomaly(self.name, self.kind, entity, int(index), begin, end, float(score), message, worth, better)


class FollowedRule(Rule):
    """A rule that is told by what follows a run: its answer is that of following it from the beginning."""

    @abstractmethod
    def follow(self) -> Follower:
        """Return what follows a growing run."""

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return what the rule finds in `iterations` [start, stop), or in the whole run."""
        return clip(self.follow().update(run), iterations)


class _Again:
    """Follows a run by searching it anew."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def update(self, run: RunData) -> list[Anomaly]:
        return self._rule.find(run)


def clip(anomalies: list[Anomaly], iterations: Window) -> list[Anomaly]:
    """Keep what lies inside the window, cut at its ends."""
    return [part for anomaly in anomalies if (part := anomaly.clip(iterations)) is not None]


def spans(iteration: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return start and stop of the iterations that each record stands for: up to the next record.

    The last record is given the length of the one before it, or one iteration where it is the only one.
    """
    if len(iteration) == 0:
        return iteration, iteration
    gaps = np.diff(iteration)
    last = gaps[-1] if len(gaps) else 1
    return iteration, iteration + np.append(gaps, last)
