"""Queries of the index against reading and reducing the raw records, and what recording into it costs.

Run: python tests/benchmarks/bench_index.py [--iterations N]. The log is synthetic: random walks with rare spikes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

LAYERS, STATISTICS, BUCKETS, PORTION = 54, 4, 1500, 4096


def record(path: Path, iterations: int) -> tuple[float, float]:
    """Write the log; return microseconds of work per iteration, and bytes on disk per byte of raw data."""
    layers = [Layer(f"layer{number}", "Conv2d", (8, 8, 3, 3)) for number in range(LAYERS)]
    statistics = [Statistic(f"statistic{number}") for number in range(STATISTICS)]
    writer = RunWriter.create(path, Description(synthetic=True), layers, statistics, [])
    rng, level, spent = np.random.default_rng(0), np.zeros((STATISTICS, LAYERS), np.float32), 0.0
    for first in range(0, iterations, PORTION):
        steps = rng.normal(size=(min(PORTION, iterations - first), STATISTICS, LAYERS)).astype(np.float32)
        values = level + np.cumsum(steps, axis=0)
        level = values[-1]
        values[rng.random(values.shape) < 1e-5] += 1e3
        start = time.perf_counter()
        writer.append_layers(first + np.arange(len(values)), values)
        writer.commit()
        spent += time.perf_counter() - start
    start = time.perf_counter()
    writer.close()
    spent += time.perf_counter() - start
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return spent / iterations * 1e6, size / (iterations * LAYERS * STATISTICS * 4)


def median_ms(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return median and worst time of repeated calls in milliseconds, after one call not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times)), max(times)


def reduce_raw(raw: NDArray[np.float32], start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The peer: minimum and maximum in as many buckets, by numpy from a memory map of one statistic."""
    window = raw[start:stop]
    edges = np.linspace(0, len(window), min(BUCKETS, len(window)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(window, edges), np.maximum.reduceat(window, edges)


def windows(iterations: int) -> list[tuple[int, int]]:
    """From the whole log down to a thousand iterations, in the middle of it."""
    middle, found = iterations // 2, []
    width = iterations
    while width >= 1000:
        found.append((max(0, middle - width // 2), min(iterations, middle + width // 2)))
        width //= 10
    return found


def report(run: Run, raw: NDArray[np.float32], iterations: int) -> None:
    """Print a line per window: the index, the peer, and how many times faster the index is."""
    print(
        f"{'window':>12} {'level':>5} {'buckets':>7} {'index ms':>9} {'worst':>7} {'numpy memmap ms':>16} {'ratio':>7}"
    )
    for start, stop in windows(iterations):
        found = run.query("statistic2", iterations=(start, stop), buckets=BUCKETS)
        index, worst = median_ms(lambda w=(start, stop): run.query("statistic2", iterations=w, buckets=BUCKETS), 9)
        peer, _ = median_ms(lambda a=start, b=stop: reduce_raw(raw, a, b), 3)
        print(
            f"{stop - start:>12,} {found.attrs['level']:>5} {found.sizes['bucket']:>7} {index:>9.1f} {worst:>7.1f} "
            f"{peer:>16.1f} {peer / index:>6.1f}x"
        )


def main() -> None:
    """Record, then query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=1_000_000)
    iterations = parser.parse_args().iterations
    with tempfile.TemporaryDirectory() as folder:
        cost, size = record(Path(folder) / "run", iterations)
        series = LAYERS * STATISTICS
        print(f"{iterations:,} synthetic iterations x {LAYERS} layers x {STATISTICS} statistics, warm file cache")
        print(
            f"recording: {cost:.1f} microseconds an iteration ({cost / series * 1e3:.0f} ns a value), {size:.2f} of raw"
        )
        start = time.perf_counter()
        run = open_run(Path(folder) / "run")
        print(f"opening: {(time.perf_counter() - start) * 1e3:.0f} ms")
        raw = np.memmap(Path(folder) / "raw", np.float32, "w+", shape=(iterations, LAYERS))
        raw[:] = run.layers["statistic2"].values
        report(run, raw, iterations)


if __name__ == "__main__":
    main()
