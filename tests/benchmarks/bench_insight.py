"""What the correlation cube costs at size: counting faces from its events, and judging every pair.

Run: python tests/benchmarks/bench_insight.py [--classes N] [--layers N] [--validations N] [--events N].
All is synthetic.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from deeptracker.data_model.correlation import Occurrences, strength
from deeptracker.data_model.cube import EventCube

PAIRS_LIMIT, FACES_LIMIT, REPEATS = 1.0, 0.5, 5


def bursty(random: np.random.Generator, rows: int, length: int) -> np.ndarray:
    """Counts with bursts, a decline that all rows share, and rates from 0.05 to 3."""
    noise, level = random.normal(size=(rows, length)), np.zeros((rows, length))
    for step in range(1, length):
        level[:, step] = 0.9 * level[:, step - 1] + np.sqrt(1 - 0.9**2) * noise[:, step]
    rate = np.exp(random.uniform(-3, 1, (rows, 1)) + np.linspace(1, -1, length))
    return random.poisson(np.exp(level - 0.5) * rate)


def cube_of(random: np.random.Generator, given: argparse.Namespace) -> EventCube:
    """Return a cube of as many image events, 50 images a class, and a tenth as many filter events."""

    def events(count: int, rows: int, members: int) -> Occurrences:
        member = random.integers(0, rows * members, count)
        iteration = random.integers(0, given.validations, count) * 100
        return Occurrences(iteration, member // members, member)

    names = [str(number) for number in range(max(given.classes, given.layers))]
    return EventCube(
        images=events(given.events, given.classes, 50),
        filters=events(given.events // 10, given.layers, 160),
        validations=np.arange(given.validations) * 100,
        classes=names[: given.classes],
        layers=names[: given.layers],
        image_ids=[],
        filter_names=[],
        image_rows=np.arange(given.classes * 50) // 50,
        filter_rows=np.arange(given.layers * 160) // 160,
    )


def best(function: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest of some calls, after one that is not counted."""
    function()
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    """Print a line for each, with its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=161)
    parser.add_argument("--validations", type=int, default=5000)
    parser.add_argument("--events", type=int, default=5_000_000)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    layers, classes = bursty(random, given.layers, given.validations), bursty(random, given.classes, given.validations)
    names = [str(number) for number in range(max(layers.shape[0], classes.shape[0]))]
    cube = cube_of(random, given)
    start = time.process_time()
    cube.faces(limit=300)
    index = time.process_time() - start
    middle = given.validations * 50
    measured = {
        "strength of all pairs": (
            best(lambda: strength(layers, classes, names[: given.layers], names[: given.classes])),
            PAIRS_LIMIT,
        ),
        "both faces, whole run, 300 bins": (best(lambda: cube.faces(limit=300)), FACES_LIMIT),
        "both faces, a hundredth of it": (best(lambda: cube.faces((middle, middle + middle // 50))), FACES_LIMIT),
        "a class down to its images": (best(lambda: cube.image_face(3, limit=300)), FACES_LIMIT),
    }
    print(
        f"{given.classes:,} classes x {given.layers:,} layers x {given.validations:,} validations, "
        f"{given.events:,} image events, CPU time, best of {REPEATS} (events indexed once in {index:.1f} s)"
    )
    for name, (seconds, limit) in measured.items():
        print(f"  {name:<34}{seconds:7.3f} s  limit {limit:g} s  {'ok' if seconds <= limit else 'TOO SLOW'}")


if __name__ == "__main__":
    main()
