"""Which trainings are recorded, which of them may be looked at while rules are tuned, and where they are kept.

The split is fixed here: rules and their thresholds were chosen on the development half, every second fault with three
of its five seeds, and on faults for practice. The other faults, and the other seeds of these, are looked at only to
report. Clean trainings go to both halves, five (one of each kind) by five.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from deeptracker.data_model.run import Run
from tests.faults.catalogue import FAULTS, Fault, class_of, entered, number_of
from tests.faults.practice import PRACTICE
from tests.faults.training import KINDS, Training, train

SEEDS, DEVELOPMENT_SEEDS = 5, 3
CLEAN, FIRST_CLEAN_SEED = 30, 1000
FAULTY_ITERATIONS, CLEAN_ITERATIONS = 2000, 5000
FIRST_FAULT, LAST_FAULT = 1050, 1400


@dataclass(frozen=True)
class Truth:
    """What is wrong with a run from `start` on, where, and until when it counts as found in time.

    `entities` are the layers or classes that are right answers; empty where the fault is of the run as a whole.
    """

    fault: str
    place: str
    entities: tuple[str, ...]
    start: int
    stop: int
    within: int


@dataclass(frozen=True)
class Recording:
    """One training of the benchmark."""

    name: str
    fault: Fault | None
    seed: int
    kind: int
    development: bool


def recordings() -> list[Recording]:
    """Return all trainings, those of the development half first."""
    clean = range(FIRST_CLEAN_SEED, FIRST_CLEAN_SEED + CLEAN)
    found = [Recording(f"clean-{seed}", None, seed, seed % 5, seed // 5 % 2 == 0) for seed in clean]
    for number, fault in enumerate([*(one for one in FAULTS if not one.practice), *PRACTICE]):
        for seed in range(DEVELOPMENT_SEEDS if fault.practice else SEEDS):
            kind = (seed + number) % (3 if fault.normed else len(KINDS))
            development = fault.practice or (number % 2 == 0 and seed < DEVELOPMENT_SEEDS)
            found.append(Recording(f"{fault.name}-{seed}", fault, 10 * number + seed, kind, development))
    return sorted(found, key=lambda one: (not one.development, one.seed % 10))


def truth_of(one: Recording, training: Training) -> Truth | None:
    """Return what is wrong with a recording; None where nothing is."""
    if one.fault is None:
        return None
    fault = one.fault
    start = 0 if fault.at_start else int(np.random.default_rng(one.seed).integers(FIRST_FAULT, LAST_FAULT))
    stop = min(start + fault.lasts, FAULTY_ITERATIONS)
    entities: tuple[str, ...] = ()
    if fault.place == "class":
        entities = (str(class_of(training)),)
    elif fault.place == "layer":
        number = number_of(training)
        numbers = (number, *(number + step for step in fault.beside))
        entities = tuple(f"{kind}{at}" for at in numbers for kind in ("conv", "norm"))
    return Truth(fault.name, fault.place, entities, start, stop, fault.within)


def read_truth(run: Run) -> Truth | None:
    """Return what is wrong with a recorded run, as it says itself."""
    kept = dict(run.description.parameters).get("truth")
    return None if kept is None else Truth(**ast.literal_eval(str(kept)))


def record(one: Recording, path: Path) -> None:
    """Train and record; what is wrong is kept in the run's own parameters, as `truth`."""
    training = Training(KINDS[one.kind], one.seed)
    truth = truth_of(one, training)
    parameters: dict[str, object] = {"kind": str(KINDS[one.kind])}
    if truth is None or one.fault is None:
        train(path, training, CLEAN_ITERATIONS, nullcontext(), (CLEAN_ITERATIONS, 0), parameters)
        return
    parameters["truth"] = asdict(truth)
    train(path, training, FAULTY_ITERATIONS, entered(one.fault, training), (truth.start, truth.stop), parameters)


def recorded(folder: Path, wanted: list[Recording], progress: bool = True) -> Iterator[tuple[Recording, Path]]:
    """Yield each training and its run below `folder`, training those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for number, one in enumerate(wanted, 1):
        path = folder / one.name
        if not path.exists():
            began = time.monotonic()
            partial = folder / ".partial" / one.name
            shutil.rmtree(partial, ignore_errors=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of a processor it does not know when asked for this:
                with torch.backends.mkldnn.flags(enabled=False):  # its overhead is most of such small convolutions
                    record(one, partial)
            partial.rename(path)
            if progress:
                words = f"{number} of {len(wanted)}: {one.name} trained in {time.monotonic() - began:.0f} s"
                print(words, file=sys.stderr, flush=True)
        yield one, path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for _ in recorded(parser.parse_args().folder, recordings()):
        pass
