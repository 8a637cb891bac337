"""Kills writers with SIGKILL at random moments, and checks after each that nothing committed is lost or torn."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from deeptracker.data_model.check.checking import check_run
from deeptracker.data_model.errors import NotARunError
from deeptracker.data_model.run import open_run
from tests.crash.content import VALIDATED, append, check, open_writer
from tests.crash.processes import last_acknowledged, read, write

LONGEST = 6000
"""Iterations of a run, after which another one is begun."""


@dataclass
class Outcome:
    """How often writers were killed, how many of them before they had committed anything, and what was survived."""

    kills: int = 0
    early: int = 0
    cuts: int = 0
    runs: int = 0
    reads: int = 0
    committed: int = 0
    level: int = 0
    longest: int = 0


def kill_writers(
    folder: Path,
    kills: int,
    *,
    seconds: float = 0.5,
    seed: int = 0,
    filled: int = 0,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Kill that many writers, each within so many seconds of its start, on runs in a folder; raise what goes wrong.

    The first run has `filled` iterations before the first kill.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.processes"])
    outcome, rng = Outcome(), np.random.default_rng(seed)
    while outcome.kills < kills:
        place = folder / f"run{outcome.runs}"
        outcome.runs += 1
        if filled and outcome.runs == 1:
            _fill(place, filled)
        over, (here, there) = context.Event(), context.Pipe()
        reader = context.Process(target=read, args=(str(place), over, there), daemon=True)
        reader.start()
        try:
            _kill_on(place, kills, seconds, rng, outcome, context, tell)
        finally:
            over.set()
            reads, problem = here.recv() if here.poll(60) else (0, "the reader does not answer")
            reader.join(60)
            reader.kill()
        assert not problem, f"a reader of {place} saw what it must not: {problem}"
        outcome.reads += reads
        _finish(place)
    return outcome


def _kill_on(
    place: Path,
    kills: int,
    seconds: float,
    rng: np.random.Generator,
    outcome: Outcome,
    context: Any,
    tell: Callable[[Outcome], None],
) -> None:
    """Kill writers of one run until it is long, or there were enough."""
    survived, number = check(open_run(place)) if place.exists() else 0, 0
    while outcome.kills < kills and survived < LONGEST:
        file = place.with_name(f"{place.name}.{number}")
        number += 1
        before = int(rng.integers(max(1, survived - 400), survived)) if survived > 100 and rng.random() < 0.1 else None
        if before is not None and before % VALIDATED == 0:
            before += 1  # a validation at the very iteration of the cut would stay, and come twice
        given = (str(place), int(rng.integers(1 << 31)), before, file)
        writer = context.Process(target=write, args=given, daemon=True)
        writer.start()
        if rng.random() < 0.7:
            _wait_for(file, writer)
        time.sleep(rng.uniform(0, seconds))
        writer.kill()
        writer.join()
        assert writer.exitcode == -9, f"the writer ended by itself, with {writer.exitcode}"
        acknowledged = last_acknowledged(file)
        least = acknowledged if acknowledged is not None else min(survived, survived if before is None else before)
        survived = _survived(place, least)
        outcome.kills += 1
        outcome.early += acknowledged is None
        outcome.cuts += before is not None
        tell(outcome)
    outcome.committed += survived
    if survived:
        levels = open_run(place)._commit.manifest.logs["layers"].levels
        outcome.level, outcome.longest = (
            max(outcome.level, sum(count > 0 for count in levels)),
            max(outcome.longest, survived),
        )


def _wait_for(file: Path, writer: BaseProcess) -> None:
    """Wait until a writer has committed something; others are killed while they open the run."""
    while writer.is_alive() and last_acknowledged(file) is None:
        time.sleep(0.01)


def _survived(place: Path, least: int) -> int:
    """Return how many iterations there are, all of them right and at least as many as were acknowledged."""
    try:
        run = open_run(place)
    except NotARunError:
        assert not least, f"{least} iterations were acknowledged, and there is no run"
        return 0
    assert run.state in ("interrupted", "closed")
    there = check(run)
    assert there >= least, f"{least} iterations were acknowledged, {there} are there"
    return there


def _fill(place: Path, iterations: int) -> None:
    writer = open_writer(str(place), None)
    for start in range(0, iterations, 50):
        append(writer, start, min(iterations, start + 50))
    writer.commit()
    writer.abandon()


def _finish(place: Path) -> None:
    """Close a run: every file of it is whole, and none is left that no commit names."""
    if not place.exists():
        return
    writer = open_writer(str(place), None)
    at = writer.last_iteration
    writer.close()
    assert check(open_run(place)) == (0 if at is None else at + 1)
    assert check_run(place).damage == []
