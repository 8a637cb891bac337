"""What 10 TB of records would take, told from what recording, building the index and queries take here.

Run: python tests/benchmarks/bench_scale.py [--iterations N]. The log is synthetic: random walks. Everything is measured
in one go, one after the other; the last table is an estimate, and says what it takes for granted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptracker.data_model.indexing.building import Built, build_index
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

LAYERS, STATISTICS, BUCKETS, PORTION = 54, 12, 1500, 4096
RECORD_BYTES = LAYERS * STATISTICS * 4
TARGET = 10e12
CORES = (1, 2, 16, 64)


@dataclass
class Spent:
    """Seconds by the clock and of the CPU."""

    wall: float = 0.0
    cpu: float = 0.0

    def add(self, work: Callable[[], object]) -> None:
        """Do something, and add what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def record(path: Path, iterations: int) -> Spent:
    """Write the log, a commit every 4096 iterations; return what the writer took."""
    layers = [Layer(f"layer{number}", "Conv2d", (8, 8, 3, 3)) for number in range(LAYERS)]
    statistics = [Statistic(f"statistic{number}") for number in range(STATISTICS)]
    writer, spent = RunWriter.create(path, Description(synthetic=True), layers, statistics, []), Spent()
    rng, level = np.random.default_rng(0), np.zeros((STATISTICS, LAYERS), np.float32)
    for first in range(0, iterations, PORTION):
        values = level + np.cumsum(rng.standard_normal((PORTION, STATISTICS, LAYERS), np.float32), axis=0)
        level = values[-1]
        at = np.arange(first, first + PORTION)
        spent.add(lambda at=at, values=values: (writer.append_layers(at, values), writer.commit()))
    spent.add(writer.close)
    return spent


def index(path: Path, workers: int) -> Built:
    """Build the index anew; every file of it must be what it was."""
    before = {file: file.read_bytes() for file in path.rglob("level_[1-9]/**/*") if file.is_file()}
    built = build_index(path, workers=workers)
    assert all(file.read_bytes() == content for file, content in before.items())
    return built


def latencies(run: Run) -> dict[str, tuple[float, float]]:
    """Return, by what is asked, the median of 15 queries in milliseconds: read anew, and known already."""
    first, stop = run.iterations
    middle = (first + stop) // 2
    asked = {
        "one statistic of all layers, whole run": {},
        "one statistic of one layer, whole run": {"layers": ["layer7"]},
        "one statistic of all layers, 10,000 iterations": {"iterations": (middle, middle + 10_000)},
    }
    found = {}
    for words, options in asked.items():
        times: dict[bool, list[float]] = {True: [], False: []}
        for number in range(32):
            anew = number % 2 == 0
            if anew:
                CHUNKS.clear()
            start = time.perf_counter()
            run.query("statistic3", family="layers", buckets=BUCKETS, **options)  # type: ignore[arg-type]
            times[anew].append((time.perf_counter() - start) * 1e3)
        found[words] = (float(np.median(times[True][1:])), float(np.median(times[False][1:])))
    return found


def exported(path: Path) -> list[tuple[str, int, float, float]]:
    """Export the run in a process of its own; return format, bytes, CPU seconds and peak of memory in MB of each."""
    script = (
        "import re, sys, time\n"
        "from deeptracker.data_model.run import open_run\n"
        "begun = time.process_time()\n"
        "open_run(sys.argv[1]).export(sys.argv[2], 'layers')\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(time.process_time() - begun, int(peak) * 1024 / 1e6)"
    )
    found = []
    for suffix in (".parquet", ".zarr", ".nc"):
        target = path.with_suffix(suffix)
        command = [sys.executable, "-c", script, str(path), str(target)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        spent, peak = map(float, answer.split())
        found.append((suffix, size(target) if target.is_dir() else target.stat().st_size, spent, peak))
    return found


def size(path: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def opened(path: Path) -> tuple[Run, float]:
    """Open a run; return it and the median of 9 times in milliseconds."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        run = open_run(path)
        times.append((time.perf_counter() - start) * 1e3)
    return run, float(np.median(times))


def measured(path: Path, iterations: int) -> tuple[float, float]:
    """Record, build and query; print it. Return bytes built a CPU second, and bytes of records on disk per byte."""
    raw = iterations * RECORD_BYTES
    spent = record(path, iterations)
    stored, above = size(path), sum(size(level) for level in (path / "layers").glob("level_[1-9]"))
    print(
        f"\n{iterations:,} iterations x {LAYERS} layers x {STATISTICS} statistics: {raw / 1e6:,.0f} MB of values,",
        end=" ",
    )
    print(f"{stored / 1e6:,.0f} MB on disk, {above / 1e6:,.0f} MB of them the index")
    print("| what | MB/s by the clock | MB per CPU second |\n|---|---|---|")
    print(f"| recording, index and all | {raw / 1e6 / spent.wall:,.0f} | {raw / 1e6 / spent.cpu:,.0f} |")
    rate = 0.0
    for workers in (1, 2):
        built = index(path, workers)
        rate = rate or raw / built.cpu_seconds
        words = f"building the index, {workers} worker{'s' if workers > 1 else ''}"
        print(f"| {words} | {raw / 1e6 / built.seconds:,.0f} | {raw / 1e6 / built.cpu_seconds:,.0f} |")
    run, opening = opened(path)
    print("\n| what | read anew, ms | known already, ms |\n|---|---|---|")
    print(f"| opening the run | {opening:.1f} | |")
    for words, (anew, known) in latencies(run).items():
        print(f"| {words} | {anew:.1f} | {known:.1f} |")
    print("\n| export to | MB on disk | MB of values per CPU second | peak of memory, MB |\n|---|---|---|---|")
    for suffix, written, cpu, peak in exported(path):
        print(f"| {suffix} | {written / 1e6:,.0f} | {raw / 1e6 / cpu:,.0f} | {peak:,.0f} |")
    return rate, (stored - above) / raw


def estimate(rate: float, ratio: float) -> None:
    """Print what building the index of `TARGET` bytes of values would take."""
    print("\nEstimate for 10 TB of values, not measured:")
    print(f"{TARGET / RECORD_BYTES:.2g} iterations of this network, {TARGET * ratio / 1e12:.1f} TB of records on disk")
    print("| cores | building the index, minutes | read from the store meanwhile, MB/s |\n|---|---|---|")
    for cores in CORES:
        print(f"| {cores} | {TARGET / rate / cores / 60:,.0f} | {rate * cores * ratio / 1e6:,.0f} |")


def main() -> None:
    """Measure at two sizes, and estimate from the larger one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=1_048_576, help="a multiple of 32,768")
    iterations = parser.parse_args().iterations
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; files in the system's cache")
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder) / "warm", 8 * PORTION)  # compiles
        build_index(Path(folder) / "warm")
        for number in (iterations // 8, iterations):
            rate, ratio = measured(Path(folder) / str(number), number)
    estimate(rate, ratio)
    print(f"load {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
