"""Where an episode began: in one layer, in one class, in the validation, or in the run as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing

HEAD = 64
"""Iterations from the first finding on that say where an episode began; later ones are what followed."""
PATIENCE = 200
"""Iterations within which something may turn out worse after something else got better."""
MOST = 50.0
"""A score above this says no more than this: everything breaks once training diverges."""
DOMINATES = 2.0
"""Times the next best score of its kind that makes one layer or class stand out."""
PER_FILTER = 0.25
"""What each filter adds to the score of its layer."""
SEVERAL = 3
"""Filters of one layer that go silent together: those tell of the layer, one may do so by itself."""
ENOUGH = 100.0
"""The score that a certain finding adds to its episode's."""

Place = tuple[str, tuple[str, ...]]


def owner(found: Anomaly) -> str:
    """Return the layer of a filter, or the entity itself."""
    return found.entity.rsplit("[", 1)[0] if found.kind == Kind.FILTER else found.entity


def kind_of(found: Anomaly) -> str:
    """Return the kind of place of a finding."""
    if found.kind in (Kind.LAYER, Kind.FILTER):
        return "layer"
    if found.kind in (Kind.CLASS, Kind.IMAGE):
        return "class"
    return "validation" if found.entity == "validation" else "run"


def filters_score(count: int) -> float:
    """Return the score of so many filters of one layer."""
    return 1 + PER_FILTER * count


def scores(findings: Sequence[Anomaly], kind: str) -> dict[str, float]:
    """Return the highest score of each entity of a kind; filters count for their layer, by their number."""
    found: dict[str, float] = {}
    filters: dict[str, int] = {}
    for one in findings:
        if kind_of(one) == kind:
            name = owner(one)
            if one.kind == Kind.FILTER:
                filters[name] = filters.get(name, 0) + 1
                value = filters_score(filters[name])
            else:
                value = min(one.score, MOST)
            found[name] = max(found.get(name, 0.0), value)
    return found


def _standing_out(found: Mapping[str, float]) -> bool:
    ordered = sorted(found.values(), reverse=True)
    return len(ordered) == 1 or (len(ordered) > 1 and ordered[0] >= DOMINATES * ordered[1])


def _certain(findings: Sequence[Anomaly], layers: int) -> list[tuple[str, float]]:
    """Return the places that certain findings name, the earliest first."""
    certain = [one for one in findings if one.standing == Standing.CERTAIN and one.kind != Kind.FILTER]
    if not certain:
        return []
    first = min(one.start for one in certain)
    at_once = [one for one in certain if one.start <= first + HEAD]
    hit = {owner(one) for one in at_once if kind_of(one) == "layer"}
    if hit and 2 * len(hit) < max(layers, 3):
        return [("layer", float(first))]
    return [("run", float(first))]


def _silenced(findings: Sequence[Anomaly]) -> str | None:
    """Return the layer of which most of the filters that went silent are, if they are several."""
    count = Counter(owner(one) for one in findings if one.kind == Kind.FILTER)
    ordered = count.most_common(2)
    if not ordered or ordered[0][1] < SEVERAL or (len(ordered) > 1 and ordered[0][1] < DOMINATES * ordered[1][1]):
        return None
    return ordered[0][0]


def beginning(findings: Sequence[Anomaly]) -> list[Anomaly]:
    """Return the findings that say where an episode began: the first ones, of what got worse if anything did.

    A training loss that falls is no harm by itself, and harm when validation stays behind: then that is the place.
    """
    start = min(one.start for one in findings)
    worse = [one for one in findings if not one.better and one.start <= start + PATIENCE]
    start = min((one.start for one in worse), default=start)
    return [one for one in worse or findings if one.start <= start + HEAD]


def places(findings: Sequence[Anomaly], layers: int) -> list[Place]:
    """Return the places at which an episode may have begun, the most likely first; `layers` is how many there are.

    What is certain comes first. A layer or class that stands out among its kind comes before the run as a whole only if
    it is as clear as what the whole run shows; if half of the layers moved on their own, it is the run that moved.
    """
    head = beginning(findings)
    found = {kind: scores(head, kind) for kind in ("layer", "class", "validation", "run")}
    best = {kind: max(values.values()) for kind, values in found.items() if values}
    if len(found["layer"]) * 2 >= max(layers, 3) and "run" not in best:
        best["run"] = sorted(found["layer"].values())[len(found["layer"]) // 2]
    # What the whole run shows counts here also where it got better: a layer beside it does not stand out.
    reached = max(one.start for one in head)
    told = scores([one for one in findings if one.start <= reached], "run").values()
    whole = {"layer": max([best.get("run", 0.0), *told])}
    # A validation that is far worse as a whole has a worst class, too.
    whole["class"] = max(whole["layer"], best.get("validation", 0.0) / DOMINATES)
    certain = {kind for kind, _ in _certain(head, layers)}
    silenced = _silenced(head)
    if silenced:
        found["layer"] = {silenced: MOST}

    def rank(kind: str) -> tuple[int, float]:
        if kind in certain:
            return (0, 0.0)
        if silenced and kind == "layer":
            return (1, -MOST)
        specific = kind in whole and _standing_out(found[kind]) and best[kind] >= whole[kind]
        order = {"run": 2, "class": 3, "validation": 3, "layer": 4}[kind]
        return (1 if specific else order, -best[kind])

    best |= {kind: MOST for kind in certain if kind not in best}
    ranked = [(kind, _names(found[kind])) for kind in sorted(best, key=rank)]
    improved = sorted({kind_of(one) for one in findings if one.better and kind_of(one) not in best})
    return ranked + [(kind, _names(scores([one for one in findings if one.better], kind))) for kind in improved]


def _names(found: Mapping[str, float]) -> tuple[str, ...]:
    """Return the entities by score: those within a half of the best."""
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return tuple(name for name, value in ordered if value * DOMINATES >= ordered[0][1])


def score_of(findings: Sequence[Anomaly]) -> float:
    """Return what an episode is ranked by: its highest score, and more for what is certain and for many findings."""
    certain = any(one.standing == Standing.CERTAIN for one in findings)
    highest = max((min(one.score, MOST) for one in findings if one.standing != Standing.CERTAIN), default=0.0)
    return round(ENOUGH * certain + highest + 0.1 * min(len(findings), 100), 3)
