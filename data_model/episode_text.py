"""What happened in an episode, in a few sentences: first, then, and beside it; each with the numbers it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.episode_place import HEAD, kind_of, owner

if TYPE_CHECKING:
    from deeptracker.data_model.episodes import Episode

MOST_FOLLOWING = 4


def sentences(episode: Episode) -> tuple[str, ...]:
    """Return the sentences of an episode."""
    head = [one for one in episode.findings if one.start <= episode.start + HEAD]
    first = _clearest(head, episode)
    told = [f"From iteration {first.start:,} {_said(first, head)}."]
    rest = [one for one in episode.findings if one is not first]
    told += _following(rest, first)
    told += _beside(episode.witnesses)
    if episode.repeat:
        told.append("The same was found before.")
    return tuple(told)


def _clearest(head: Sequence[Anomaly], episode: Episode) -> Anomaly:
    """Return the finding that speaks for the place at which the episode began."""
    there = [one for one in head if kind_of(one) == episode.place and owner(one) in episode.entities]
    return max(there or head, key=lambda one: (one.standing == "certain", min(one.score, 1e6), -one.start))


def _said(first: Anomaly, head: Sequence[Anomaly]) -> str:
    same = sum(one.rule == first.rule and owner(one) == owner(first) for one in head)
    if first.kind == Kind.FILTER and same > 1:
        return f"{first.message}; so do {same - 1} more filters of the layer"
    return first.message


def _following(rest: Sequence[Anomaly], first: Anomaly) -> list[str]:
    """Return what else was found, one sentence a kind of place: who, how many, and the clearest in words."""
    told = []
    for kind in ("run", "layer", "class", "validation"):
        mine = [one for one in rest if kind_of(one) == kind]
        if not mine:
            continue
        best = max(mine, key=lambda one: one.score if one.kind != Kind.FILTER else 0.0)
        names = list(dict.fromkeys(owner(one) for one in sorted(mine, key=lambda one: one.start)))
        when = _when(min(one.start for one in mine) - first.start)
        if kind in ("run", "validation") or len(names) == 1:
            told.append(f"{when}: {best.message}.")
        else:
            some = ", ".join(names[:MOST_FOLLOWING]) + (
                f" and {len(names) - MOST_FOLLOWING} more" if len(names) > MOST_FOLLOWING else ""
            )
            what = "layers" if kind == "layer" else "classes"
            told.append(f"{when} {len(names)} {what} ({some}), most clearly: {best.message}.")
    return told


def _when(after: int) -> str:
    if after > 0:
        return f"{after:,} iterations later"
    return "At the same time" if after == 0 else f"{-after:,} iterations before"


def _beside(witnesses: Sequence[Anomaly]) -> list[str]:
    """Return what the witnesses count up to: images, filters, and landmarks in words."""
    images = [one for one in witnesses if one.kind == Kind.IMAGE]
    filters = [one for one in witnesses if one.kind == Kind.FILTER]
    told = []
    if images:
        told.append(
            f"In its course {len({one.entity for one in images}):,} images changed their answer after or for long."
        )
    if filters:
        layers = Counter(owner(one) for one in filters).most_common(3)
        where = ", ".join(f"{count} in {name}" for name, count in layers)
        told.append(f"{len({one.entity for one in filters}):,} filters moved unlike their layer mates ({where}).")
    told += [
        f"{one.message[:1].upper()}{one.message[1:]} (iteration {one.start:,})."
        for one in witnesses
        if one.kind == Kind.SCALAR
    ][:2]
    return told
