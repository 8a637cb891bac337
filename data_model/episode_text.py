"""What happened in an episode, in a few sentences: first, then, and beside it; each with the numbers it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.episode_place import HEAD, filters_score, kind_of, owner

if TYPE_CHECKING:
    from deeptracker.data_model.episodes import Episode

MOST_NAMED = 4
KINDS = {"run": "things", "layer": "layers", "class": "classes", "validation": "things"}


@dataclass(frozen=True)
class Story:
    """The sentences of an episode: the `first` one speaks for its place, what was found with it or after it `followed`,
    and what went along is `beside` it."""

    first: str
    followed: tuple[str, ...]
    beside: tuple[str, ...]


def story(episode: Episode) -> Story:
    """Tell what came first in an episode, what followed in order of time, and who went along."""
    head, first = _head(episode), speaking(episode)
    followed = _others([one for one in episode.findings if one is not first], first)
    told = f"Iteration {first.start:,}: {_with_filters(first, head)}."
    return Story(told, tuple(followed), tuple(_beside(episode.witnesses)))


def sentences(episode: Episode) -> tuple[str, ...]:
    """Return all sentences of an episode in one row, and whether the same was found before."""
    told = story(episode)
    again = ("The same was found before.",) if episode.repeat else ()
    return (told.first, *told.followed, *told.beside, *again)


def _head(episode: Episode) -> list[Anomaly]:
    return [one for one in episode.findings if one.start <= episode.start + HEAD]


def speaking(episode: Episode) -> Anomaly:
    """Return the finding that speaks for the place at which the episode began: the clearest one there."""
    head = _head(episode)
    there = [one for one in head if kind_of(one) == episode.place and owner(one) in episode.entities] or head
    return max(there, key=lambda one: (one.standing == "certain", _weight(one, there), -one.start))


def _weight(found: Anomaly, among: Sequence[Anomaly]) -> float:
    """Return what a finding's score counts; that of a filter is a length, so filters count by their number."""
    if found.kind == Kind.FILTER:
        return filters_score(sum(one.kind == Kind.FILTER and owner(one) == owner(found) for one in among))
    return min(found.score, 1e6)


def _with_filters(found: Anomaly, among: Sequence[Anomaly]) -> str:
    same = len({one.entity for one in among if one.rule == found.rule and owner(one) == owner(found)})
    if found.kind == Kind.FILTER and same > 1:
        return f"{found.message}; so {'do' if same > 2 else 'does'} {same - 1} more of the layer"
    return found.message


def _others(rest: Sequence[Anomaly], first: Anomaly) -> list[str]:
    """Return what else was found, one sentence a kind of place: when, who, and the clearest in words."""
    told = []
    for kind, plural in KINDS.items():
        mine = [one for one in rest if kind_of(one) == kind]
        if not mine:
            continue
        best = max(mine, key=lambda one: (_weight(one, mine), -one.start))
        names = list(dict.fromkeys(owner(one) for one in sorted(mine, key=lambda one: one.start)))
        who = ""
        if kind in ("layer", "class") and len(names) > 1:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            who = f" {len(names)} {plural} ({', '.join(names[:MOST_NAMED])}{more}), most clearly"
        told.append((best.start, f"{_when(best.start - first.start)}{who}: {_with_filters(best, mine)}."))
    return [said for _, said in sorted(told, key=lambda one: one[0])]


def _when(after: int) -> str:
    if after == 0:
        return "At the same time"
    much = "iteration" if abs(after) == 1 else "iterations"
    return f"{abs(after):,} {much} {'later' if after > 0 else 'before'}"


def _beside(witnesses: Sequence[Anomaly]) -> list[str]:
    """Return what the witnesses count up to: images and filters by number, the strongest of a scalar in words."""
    images = {one.entity for one in witnesses if one.kind == Kind.IMAGE}
    filters = {one.entity: owner(one) for one in witnesses if one.kind == Kind.FILTER}
    told = []
    if images:
        many = "image" if len(images) == 1 else "images"
        told.append(f"Meanwhile {len(images):,} {many} changed from, or into, a long stretch of equal answers.")
    if filters:
        layers = Counter(filters.values()).most_common(3)
        where = ", ".join(f"{count} in {name}" for name, count in layers)
        many = "filter" if len(filters) == 1 else "filters"
        told.append(f"Meanwhile {len(filters):,} {many} moved unlike the others of the layer ({where}).")
    strongest: dict[str, Anomaly] = {}
    for one in witnesses:
        if one.kind not in (Kind.IMAGE, Kind.FILTER):
            known = strongest.get(one.rule)
            strongest[one.rule] = one if known is None or one.score > known.score else known
    return told + [f"Iteration {one.start:,}: {one.message}." for one in sorted(strongest.values(), key=_begin)]


def _begin(found: Anomaly) -> int:
    return found.start
