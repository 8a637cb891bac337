"""The processes of the crash harness: a writer that goes on until it is killed, and a reader that keeps looking."""

from __future__ import annotations

import struct
import traceback
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from deeptracker.data_model.errors import DeepTrackerError, NotARunError
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.writer import RunWriter
from tests.crash.content import MOST, append, check, open_writer, small_shards

NUMBER = struct.Struct("q")


def write(place: str, seed: int, before: int | None, acknowledged: Path) -> None:
    """Record without end; after each commit, append the number of iterations that are committed to a file."""
    with small_shards():
        _write(place, seed, before, acknowledged)


def _write(place: str, seed: int, before: int | None, acknowledged: Path) -> None:
    rng = np.random.default_rng(seed)
    writer = open_writer(place, before)
    at = -1 if writer.last_iteration is None else writer.last_iteration
    at += 1
    with acknowledged.open("ab", buffering=0) as file:
        file.write(NUMBER.pack(at))
        while True:
            count = int(rng.integers(1, MOST))
            append(writer, at, at + count)
            at += count
            kind = rng.random()
            if kind < 0.7:
                writer.commit()
                file.write(NUMBER.pack(at))
            if kind < 0.04:
                writer.close()
                writer = RunWriter.resume(place)


def last_acknowledged(file: Path) -> int | None:
    """Return the last number in the file; None where nothing was committed."""
    content = file.read_bytes() if file.exists() else b""
    whole = len(content) // NUMBER.size * NUMBER.size
    return int(NUMBER.unpack(content[whole - NUMBER.size : whole])[0]) if whole else None


def read(place: str, over: Event, answer: Connection) -> None:
    """Look at a run until it is over, by turns at one that was opened long ago and at one opened now; answer how often,
    and what was wrong.
    """
    reads, run, problem = 0, None, ""
    while not over.is_set() and not problem:
        try:
            run = _look(place, run, reads)
            reads += run is not None
        except Exception:  # noqa: BLE001 - whatever it is, the harness tells it
            problem = traceback.format_exc()
    answer.send((reads, problem))


def _look(place: str, run: Run | None, reads: int) -> Run | None:
    try:
        if run is None or reads % 3 == 0:
            run = open_run(place)
    except NotARunError:
        if run is not None:
            raise
        return None
    run.refresh()
    generation = run._commit.manifest.generation
    try:
        check(run)
    except (DeepTrackerError, AssertionError):
        # What lay behind a cut is gone, and the run says so; anything else is an error.
        run.refresh()
        if run._commit.manifest.generation == generation:
            raise
    return run
