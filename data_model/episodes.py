"""Episodes: findings that belong together in time, with where they began and what went along with them.

A finding that is certain or strong makes an episode, a weak one only in company: another finding begins near it.
(Alone, weak ones are what chance brings.) Findings whose spans lie within `GAP` iterations are one episode. A
validation may show what happened at any time since the one before, so its findings reach back as far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.episode_place import owner, places, score_of

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

COMPANY, GAP, SEVERAL = 25, 100, 3
"""Iterations within which a weak finding needs another one, and within which findings are one episode; how many filters
of one layer count as one finding."""
REACH = 200
"""Iterations of a finding that still tell of its beginning: what starts later makes an episode of its own."""
VALIDATION = "validation"


@dataclass(frozen=True)
class Episode:
    """Findings that belong together; `findings` in order of time, those that made the episode and those beside it.

    `place` is the kind of place where it began ("run", "layer", "class" or "validation") and `entities` its names.
    `score` ranks episodes; `repeat` says that the same rules have found the same before. `text` are a few sentences.
    """

    start: int
    stop: int
    place: str
    entities: tuple[str, ...]
    score: float
    findings: tuple[Anomaly, ...]
    witnesses: tuple[Anomaly, ...] = ()
    repeat: bool = False
    text: tuple[str, ...] = ()
    headlines: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules whose findings made the episode, in order of time."""
        return tuple(dict.fromkeys(one.rule for one in self.findings))

    def to_json(self) -> dict[str, Any]:
        """Return the episode as plain JSON values; `witnesses` are counted by rule, they may be thousands."""
        plain = {name: getattr(self, name) for name in ("start", "stop", "place", "score", "repeat")}
        return {
            **plain,
            "entities": list(self.entities),
            "text": list(self.text),
            "places": [{"place": place, "entities": list(entities)} for place, entities in self.headlines],
            "findings": [_plain(one) for one in self.findings],
            "witnesses": dict(Counter(one.rule for one in self.witnesses)),
        }


def _plain(found: Anomaly) -> dict[str, Any]:
    """Return a finding as JSON values; JSON knows no infinite score."""
    values = {name: str(value) if isinstance(value, StrEnum) else value for name, value in asdict(found).items()}
    return {**values, "score": found.score if np.isfinite(found.score) else None}


def of_validation(found: Anomaly) -> bool:
    """Whether a finding was made at a validation."""
    return found.kind in (Kind.CLASS, Kind.IMAGE) or found.entity == VALIDATION


def begins(found: Anomaly, validations: npt.NDArray[np.int64]) -> int:
    """Return the earliest iteration at which what was found can have happened."""
    if not of_validation(found):
        return found.start
    place = int(np.searchsorted(validations, found.start, "left"))
    before = int(validations[place - 1]) + 1 if place else found.start
    return max(before, found.start - REACH)


def accompanied(findings: Sequence[Anomaly], validations: npt.NDArray[np.int64]) -> list[Anomaly]:
    """Return what makes episodes: weak findings only where another one begins while they last, or next to them."""
    candidates = _in_numbers([one for one in findings if one.standing != Standing.WITNESS])
    first = np.array([begins(one, validations) for one in candidates], np.int64)
    last = np.array([min(one.stop, one.start + COMPANY) for one in candidates], np.int64)
    # Those within COMPANY of mine: all that begin before it ends, less those that end before it begins.
    begun = np.searchsorted(np.sort(first), last + COMPANY, "right")
    over = np.searchsorted(np.sort(last), first - COMPANY, "left")
    return [
        one for one, near in zip(candidates, begun - over, strict=True) if one.standing != Standing.WEAK or near > 1
    ]


def episodes(anomalies: Iterable[Anomaly], validations: npt.NDArray[np.int64], layers: int) -> list[Episode]:
    """Gather a run's anomalies into episodes, the most important first.

    `validations` are their iterations, `layers` is how many the network has.
    """
    from deeptracker.data_model.episode_text import sentences

    everything = list(anomalies)
    witnesses = [one for one in everything if one.standing == Standing.WITNESS]
    known: set[tuple[str, str]] = set()
    found = []
    for part in _gathered(accompanied(everything, validations), validations):
        start, stop = part[0].start, max(one.stop for one in part)
        beside = tuple(one for one in witnesses if start - GAP <= one.start <= min(stop, start + REACH))
        ranked = places(part, layers)
        place, entities = ranked[0]
        said = {(one.rule, one.entity) for one in part}
        repeat = said <= known and not any(one.standing == Standing.CERTAIN for one in part)
        known |= said
        episode = Episode(start, stop, place, entities, score_of(part), tuple(part), beside, repeat, (), tuple(ranked))
        found.append(replace(episode, text=sentences(episode)))
    return sorted(found, key=lambda one: (one.repeat, -one.score, one.start))


def _in_numbers(findings: Sequence[Anomaly]) -> list[Anomaly]:
    """Leave out weak findings of single filters: filters die now and then, several of one layer at once do not."""
    starts: dict[str, npt.NDArray[np.int64]] = {}
    single = [one for one in findings if one.kind == Kind.FILTER and one.standing == Standing.WEAK]
    for layer in {owner(one) for one in single}:
        starts[layer] = np.sort(np.array([one.start for one in single if owner(one) == layer], np.int64))

    def several(one: Anomaly) -> bool:
        mine = starts[owner(one)]
        near = np.searchsorted(mine, one.start + GAP, "right") - np.searchsorted(mine, one.start - GAP, "left")
        return int(near) >= SEVERAL

    return [one for one in findings if one.kind != Kind.FILTER or one.standing != Standing.WEAK or several(one)]


def self_supporting(anomalies: Iterable[Anomaly]) -> list[Anomaly]:
    """Return findings that all make episodes by themselves: those of rules that somebody has asked for by name."""
    weaker = (Standing.WEAK, Standing.WITNESS)
    return [replace(one, standing=Standing.STRONG) if one.standing in weaker else one for one in anomalies]


def episodes_of_run(run: Run, anomalies: Iterable[Anomaly]) -> list[Episode]:
    """Gather what rules have found in a run into episodes, the most important first."""
    validations = np.asarray(run.validation["iteration"].values, np.int64)
    return episodes(anomalies, validations, len(run.layer_list))


def _gathered(findings: Sequence[Anomaly], validations: npt.NDArray[np.int64]) -> list[list[Anomaly]]:
    parts: list[list[Anomaly]] = []
    reached = 0
    for one in sorted(findings, key=lambda one: (begins(one, validations), one.start)):
        if not parts or begins(one, validations) > reached + GAP:
            parts.append([])
            reached = 0
        parts[-1].append(one)
        reached = max(reached, min(one.stop, one.start + REACH))
    return [sorted(part, key=lambda one: (one.start, one.rule, one.index)) for part in parts]
