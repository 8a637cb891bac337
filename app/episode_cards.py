"""Episodes as people read them: cards with sentences, a picture of their course, and what picking one selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeptracker.app.axes import Window, clamped
from deeptracker.app.session import Session
from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.episode_place import kind_of, owner
from deeptracker.data_model.episode_text import speaking, story
from deeptracker.data_model.episodes import Episode

LANES = {"run": "run", "layer": "layers", "class": "classes", "validation": "validation"}
"""The kinds of place, and the words for their lanes in the picture of an episode's course."""
MOST_PICKED = 6
"""Layers or classes that picking an episode selects: the most likely places come first."""
MOST_TICKS = 160
"""Marks in one lane of the picture: it is 180 pixels wide."""


def where(episode: Episode) -> str:
    """Return where an episode began, in words."""
    names = ", ".join(episode.entities[:3]) + (" \u2026" if len(episode.entities) > 3 else "")
    if episode.place in ("layer", "class"):
        many = {"layer": "layers", "class": "classes"}[episode.place]
        return f"{episode.place if len(episode.entities) == 1 else many} {names}"
    return "validation" if episode.place == "validation" else "the run as a whole"


def key_of(episode: Episode) -> str:
    """Return what stays the same of an episode while it goes on: where and when it began."""
    return f"{episode.start}:{episode.place}:{','.join(episode.entities[:1])}"


def course(episode: Episode) -> dict[str, Any]:
    """Return the findings as marks over time: `lanes` of [share of the span, whether it made the episode], its ends.

    A lane that has nothing is left out; what lies on one spot is one mark.
    """
    everything = [(one, True) for one in episode.findings] + [(one, False) for one in episode.witnesses]
    first = min(one.start for one, _ in everything)
    last = max(one.start for one, _ in everything)
    lanes: dict[str, dict[int, bool]] = {}
    for one, made in everything:
        spot = round((one.start - first) / max(last - first, 1) * MOST_TICKS)
        lane = lanes.setdefault(kind_of(one), {})
        lane[spot] = lane.get(spot, False) or made
    marks = [
        {"name": words, "marks": [[spot / MOST_TICKS, made] for spot, made in sorted(lanes[kind].items())]}
        for kind, words in LANES.items()
        if kind in lanes
    ]
    return {"first": first, "last": last, "lanes": marks}


def card(episode: Episode, rank: int, strongest: float, new: bool) -> dict[str, Any]:
    """Return what the browser shows of an episode, see `EpisodeList`."""
    told = story(episode)
    return {
        "key": key_of(episode),
        "rank": rank,
        "start": episode.start,
        "stop": episode.stop,
        "place": episode.place,
        "where": where(episode),
        "first": told.first,
        "followed": list(told.followed),
        "beside": list(told.beside),
        "repeat": episode.repeat,
        "new": new,
        "score": f"{episode.score:.3g}",
        "share": round(episode.score / strongest, 4) if strongest > 0 else 0,
        "course": course(episode),
    }


def touching(episodes: Sequence[Episode], span: tuple[int, int]) -> list[Episode]:
    """Return the episodes that touch the iterations [start, stop), in the order given."""
    return [one for one in episodes if one.start < span[1] and one.stop > span[0]]


def window_of(episode: Episode, whole: Window) -> Window:
    """Return the iterations to look at: the episode and as much on either side, at least a twentieth of the run."""
    wanted = max(3 * (episode.stop - episode.start), (whole[1] - whole[0]) // 20)
    middle = (episode.start + episode.stop) // 2
    return clamped((middle - wanted // 2, middle + (wanted + 1) // 2), whole)


def selected(episode: Episode, session: Session) -> dict[str, Any]:
    """Return what picking an episode selects: its window, its layers, filters, classes and images, what speaks for it.

    The layers and classes are those where it may have begun, the most likely first.
    """
    window = window_of(episode, session.axes.whole)
    change: dict[str, Any] = {
        "anomaly": session.search.rows.get(speaking(episode)),
        "layers": _names(episode, "layer", [layer.name for layer in session.run.layer_list]),
        "classes": _names(episode, "class", session.run.class_names),
    }
    there = [one for one in (*episode.findings, *episode.witnesses) if owner(one) in change["layers"]]
    change["filters"] = sorted({one.index for one in there if one.kind == Kind.FILTER})
    change["images"] = _images(episode.findings)
    return change | ({"window": window} if window != session.window else {})


def _names(episode: Episode, kind: str, known: Sequence[str]) -> list[str]:
    named = [name for place, names in episode.headlines if place == kind for name in names]
    return [name for name in named if name in known][:MOST_PICKED]


def _images(findings: Sequence[Anomaly]) -> list[str]:
    return list(dict.fromkeys(one.entity for one in findings if one.kind == Kind.IMAGE))
