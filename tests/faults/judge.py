"""Whether what was found in a recording is right: found in time, at the right place, and nothing where nothing was.

An episode that begins before the fault is false, also when it goes on into it. Of those that begin after it only the
first counts, within the time that the fault allows. Its delay is the time from the fault to the end of the block (or
validation) in which its first finding begins: when it could be known. Time is right when an episode begins at most
two blocks after the fault, or within the first two validations for a fault of the validation or of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from deeptracker.data_model.episodes import Episode, of_validation
from deeptracker.data_model.record_blocks import BLOCK
from deeptracker.data_model.run import Run
from tests.faults.recordings import Truth
from tests.faults.training import VALIDATE_EVERY

CLEAN_FROM = 1000
"""Iterations from which on clean ones are counted; before, most rules have no past to judge by. False episodes always
count."""

SLACK = BLOCK
"""A finding made of a block begins with it, so at most this many iterations before what it found."""


@dataclass
class Verdict:
    """One recording judged: iterations without a fault, what was found in them, and whether the fault was found."""

    name: str
    fault: str | None
    clean: int
    false: list[Episode]
    alarmed: int
    found: Episode | None = None
    place: bool = False
    among: bool = False
    time: bool = False
    delay: float = np.nan
    alarms: list[Episode] = field(default_factory=list)


def judge(run: Run, truth: Truth | None, episodes: Sequence[Episode], name: str) -> Verdict:
    """Judge the episodes of a recording; repeats count like others."""
    stop = run.iterations[1]
    start = stop if truth is None else truth.start
    early = [one for one in episodes if one.start < start - SLACK]
    alarmed = np.zeros(stop, bool)
    for one in early:
        for finding in one.findings:
            alarmed[finding.start : min(finding.stop, start)] = True
    clean = max(start - CLEAN_FROM, 0)
    verdict = Verdict(name, truth and truth.fault, clean, early, int(alarmed[CLEAN_FROM:].sum()))
    if truth is None:
        return verdict
    after = sorted((one for one in episodes if one.start >= start - SLACK), key=lambda one: (one.start, -one.score))
    verdict.alarms = after
    if after and after[0].start <= start + truth.within:
        _of_fault(verdict, truth, after[0])
    return verdict


def _of_fault(verdict: Verdict, truth: Truth, found: Episode) -> None:
    first = found.findings[0]
    verdict.found = found
    verdict.place = right_place(truth, found.headlines[0])
    verdict.among = any(right_place(truth, one) for one in found.headlines)
    known = first.start if of_validation(first) else min(first.stop, first.start + BLOCK)
    verdict.delay = max(known - truth.start, 0)
    allowed = 2 * (VALIDATE_EVERY if truth.place in ("validation", "class") else BLOCK)
    verdict.time = found.start - truth.start <= allowed


def right_place(truth: Truth, place: tuple[str, tuple[str, ...]]) -> bool:
    """Whether a place is the fault's; of a layer or class its first entity must be one of the fault's."""
    kind, entities = place
    if kind != truth.place:
        return False
    return not truth.entities or (bool(entities) and entities[0] in truth.entities)


Find = Callable[[Run], Sequence[Episode]]


def table(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the figures of many recordings together."""
    faulty = [one for one in verdicts if one.fault]
    found = [one for one in faulty if one.found]
    clean = sum(one.clean for one in verdicts)
    delays = [one.delay for one in found]

    def share(values: Sequence[bool]) -> float:
        return float(np.mean(values)) if values else np.nan

    return {
        "faults": len(faulty),
        "recall": share([one.found is not None for one in faulty]),
        "place": share([one.place for one in found]),
        "place among": share([one.among for one in found]),
        "time": share([one.time for one in found]),
        "delay median": float(np.median(delays)) if delays else np.nan,
        "delay 90 %": float(np.percentile(delays, 90)) if delays else np.nan,
        "clean": clean,
        "false per 10,000": 1e4 * sum(len(one.false) for one in verdicts) / max(clean, 1),
        "alarm time": sum(one.alarmed for one in verdicts) / max(clean, 1),
    }
