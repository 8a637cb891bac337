"""Queries of the index at size: any window, the first one of a process, runs of any length; and what others take.

Run: python tests/benchmarks/bench_index.py [--iterations N] [--keep FOLDER]

The logs are synthetic random walks with rare spikes. They are recorded by the writer before they are read, which takes
far longer than reading; with --keep they stay, and a later call reads them again. Files are in the system's cache.
`anew` has nothing decoded in memory, `warm` is the same question asked again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

BUCKETS, PORTION, REPEATS = 1500, 4096, 15
NETWORKS = {54: 18, 161: 18}
"""Layers, and statistics of each."""

LENGTHS = (10_000, 100_000, 1_000_000, 10_000_000)
"""Iterations of one statistic of the smaller network: a query reads only the one it asks for."""

POINTS = 200_000
"""Of one scalar in TensorBoard's log: it is read whole, so that more would take as much longer."""


def record(path: Path, iterations: int, layers: int, statistics: int) -> None:
    """Write a log unless it is there; print what it took."""
    if path.exists():
        return
    network = [Layer(f"layer{number}", "Conv2d", (8, 8, 3, 3)) for number in range(layers)]
    described = [Statistic(f"statistic{number}") for number in range(statistics)]
    writer = RunWriter.create(path, Description(synthetic=True), network, described, [])
    rng, level, spent = np.random.default_rng(0), np.zeros((statistics, layers), np.float32), 0.0
    for first in range(0, iterations, PORTION):
        shape = (min(PORTION, iterations - first), statistics, layers)
        values = level + np.cumsum(rng.standard_normal(shape, np.float32), axis=0)
        level = values[-1]
        values.reshape(-1)[rng.integers(values.size, size=values.size // 100_000)] += 1e3
        start = time.process_time()
        writer.append_layers(first + np.arange(len(values)), values)
        writer.commit()
        spent += time.process_time() - start
    start = time.process_time()
    writer.close()
    spent += time.process_time() - start
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    series = layers * statistics
    print(
        f"recording: {spent / iterations * 1e6:.1f} microseconds of CPU an iteration "
        f"({spent / iterations / series * 1e9:.0f} ns a value), {size / (iterations * series * 4):.2f} bytes a byte"
    )


def milliseconds(function: Callable[[], object], repeats: int = REPEATS, *, anew: bool = False) -> NDArray[np.float64]:
    """Return the times of repeated calls, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        if anew:
            CHUNKS.clear()
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return np.array(times[1:])


def windows(iterations: int) -> list[tuple[int, int]]:
    """From the whole log down to a thousand iterations, in the middle of it."""
    widths = [iterations // 10**power for power in range(9) if iterations // 10**power >= 1000]
    return [(iterations // 2 - width // 2, iterations // 2 + width // 2) for width in widths]


def reduce_raw(raw: NDArray[np.float32], start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Minimum and maximum in as many buckets, by numpy from a memory map of the one statistic."""
    window = raw[start:stop]
    edges = np.linspace(0, len(window), min(BUCKETS, len(window)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(window, edges), np.maximum.reduceat(window, edges)


def downsampled(columns: NDArray[np.float32], start: int, stop: int) -> list[NDArray[np.uint64]]:
    """MinMaxLTTB, as the viewers of time series take it: points that look like the line, of each layer's own array."""
    from tsdownsample import MinMaxLTTBDownsampler

    chooser = MinMaxLTTBDownsampler()
    return [chooser.downsample(column, n_out=min(BUCKETS, stop - start)) for column in columns[:, start:stop]]


def report(run: Run, folder: Path, statistic: str = "statistic2") -> None:
    """Print a line per window: the index, and reading and reducing the raw records of the very same statistic."""
    iterations, values = run.iterations[1], run.layers[statistic].values
    raw = np.memmap(folder / "raw", np.float32, "w+", shape=values.shape)
    raw[:] = values
    columns = np.memmap(folder / "columns", np.float32, "w+", shape=values.shape[::-1])
    columns[:] = values.T
    del values
    print("| window | level | buckets | warm, median ms | worst | anew | worst | numpy, memory map | MinMaxLTTB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for start, stop in windows(iterations):

        def ask(start: int = start, stop: int = stop) -> object:
            return run.query(statistic, iterations=(start, stop), buckets=BUCKETS)

        found = run.query(statistic, iterations=(start, stop), buckets=BUCKETS)
        warm, anew = milliseconds(ask), milliseconds(ask, anew=True)
        peer = np.median(milliseconds(lambda a=start, b=stop: reduce_raw(raw, a, b), 3))
        other = _or_missing(lambda a=start, b=stop: downsampled(columns, a, b))
        print(
            f"| {stop - start:,} | {found.attrs['level']} | {found.sizes['bucket']} | {np.median(warm):.1f} "
            f"| {warm.max():.1f} | {np.median(anew):.1f} | {anew.max():.1f} | {peer:.1f} | {other} |",
            flush=True,
        )


def _or_missing(function: Callable[[], object]) -> str:
    try:
        return f"{np.median(milliseconds(function, 3)):.1f}"
    except ModuleNotFoundError as error:
        return f"({error.name} is not installed)"


FIRST = """
import sys, time
from deeptracker.data_model.run import open_run
if sys.argv[2] == "all":
    import numba, numpy, xarray
    numba.njit(lambda value: value)(1)
    xarray.Dataset({"value": ("row", numpy.zeros(1))})
start = time.perf_counter()
run = open_run(sys.argv[1])
opened = time.perf_counter()
run.query("statistic2", buckets=1500)
print((opened - start) * 1e3, (time.perf_counter() - opened) * 1e3)
"""


def first_query(path: Path) -> None:
    """Print what a new process takes from having imported to having answered."""
    for which, words in (
        ("own", "beyond the imports of DeepTracker"),
        ("all", "beyond those too that xarray and numba put off until they are used"),
    ):
        command = [sys.executable, "-c", FIRST, str(path), which]
        answers = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(6)]
        opening, query = np.median([[float(one) for one in answer.split()] for answer in answers[1:]], axis=0)
        print(f"first query of a new process, {words}: {opening:.0f} ms to open the run, {query:.0f} ms to answer")


def flat(folder: Path, lengths: Sequence[int]) -> None:
    """Print whether the length of a run matters."""
    medians = []
    print(f"\nwhole runs of any length, {min(NETWORKS)} layers, one statistic:")
    print("| iterations | level | buckets | warm, median ms | anew |\n|---|---|---|---|---|")
    for length in lengths:
        record(folder / f"{length} iterations", length, min(NETWORKS), 1)
        run = open_run(folder / f"{length} iterations")
        found = run.query("statistic0", buckets=BUCKETS)
        warm, anew = (
            np.median(milliseconds(lambda run=run: run.query("statistic0", buckets=BUCKETS), 31, anew=anew))
            for anew in (False, True)
        )
        medians.append((warm, anew))
        print(f"| {length:,} | {found.attrs['level']} | {found.sizes['bucket']} | {warm:.2f} | {anew:.2f} |")
    warmest, newest = (max(column) / min(column) for column in zip(*medians, strict=True))
    print(f"slowest / fastest: {warmest:.1f} warm, {newest:.1f} anew")


def tensorboard(folder: Path) -> None:
    """Print what TensorBoard's own reader takes for one scalar."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        print(f"TensorBoard is not measured: {error.name} is not installed")
        return
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for step in range(POINTS):
            writer.add_scalar("loss", step % 97, step)
    start = time.perf_counter()
    loaded = EventAccumulator(str(folder / "tensorboard"), {"scalars": 1000}).Reload()
    spent = time.perf_counter() - start
    print(
        f"TensorBoard's EventAccumulator: {spent / POINTS * 1e6:.1f} microseconds a point to load one scalar, of which "
        f"it keeps {len(loaded.Scalars('loss'))} points at random"
    )


def main() -> None:
    """Record, then query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=1_000_000)
    parser.add_argument("--longest", type=int, default=LENGTHS[-1])
    parser.add_argument("--keep", type=Path, help="where the runs are kept (default: nowhere)")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for layers, statistics in NETWORKS.items():
            print(f"\n{given.iterations:,} synthetic iterations x {layers} layers x {statistics} statistics")
            path = folder / f"{given.iterations} x {layers} layers x {statistics} statistics"
            record(path, given.iterations, layers, statistics)
            first_query(path)
            report(open_run(path), Path(temporary))
        tensorboard(Path(temporary))
        flat(folder, [length for length in LENGTHS if length <= given.longest])
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
