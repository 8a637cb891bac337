"""What searching a run costs: all rules of layers over a million iterations, filters, a growing run, and memory.

Run: python tests/benchmarks/bench_rules.py [--iterations N]. The runs are synthetic: noise around drifting levels.
CPU time of one core; reading and unpacking what is recorded is part of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from deeptracker.data_model.anomaly import Kind
from deeptracker.data_model.detection import Following, default_rules
from deeptracker.data_model.rules import Rule
from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter
from deeptracker.data_model.zero_runs import ZeroRuns

LAYERS, FILTERS, FILTER_RECORDS, PORTION, AT_ONCE = 54, 26_560, 60_000, 4096, 150
SECONDS, FILTER_VALUES, SHARE, MEGABYTES = 20.0, 50e6, 0.01, 1000
NAMES = (
    *(f"gradient_{name}" for name in ("min", "q1", "median", "q3", "max", "mean", "std", "l1", "l2", "nonfinite")),
    *(f"weight_{name}" for name in ("min", "max", "mean", "median", "std", "l2", "nonfinite")),
    "relative_change_l2",
)


def record(path: Path, iterations: int) -> None:
    """Write the run: 54 layers x 18 statistics, loss and learning rate, at every iteration."""
    layers = [Layer(f"layer{number}", "Conv2d", (8, 8, 3, 3)) for number in range(LAYERS)]
    writer = RunWriter.create(path, Description(synthetic=True), layers, [Statistic(name) for name in NAMES], [])
    random = np.random.default_rng(0)
    for first in range(0, iterations, PORTION):
        write(writer, random, first, min(PORTION, iterations - first))
    writer.close()


def write(writer: RunWriter, random: np.random.Generator, first: int, count: int) -> None:
    """Append `count` iterations from `first` on, and commit."""
    level = np.array([-1.0 if name.endswith(("min", "q1")) else 1.0 for name in NAMES], np.float32)[:, None]
    values = random.standard_normal((count, len(NAMES), LAYERS), np.float32)
    values *= 0.05
    values += 1 + 0.1 * np.sin(first / 50_000)
    values *= level
    values[:, [number for number, name in enumerate(NAMES) if name.endswith("nonfinite")]] = 0
    iteration = first + np.arange(count)
    loss = np.exp(0.1 * random.standard_normal(count))
    writer.append_scalars(iteration, {"loss": loss, "learning_rate": np.full(count, 0.1)})
    writer.append_layers(iteration, values, 1)
    writer.commit()


def searched(run: Run, rules: list[Rule]) -> dict[str, float]:
    """Return the CPU seconds of each rule over the whole run."""
    seconds = {}
    for rule in rules:
        start = time.process_time()
        found = rule.find(run)
        seconds[f"{rule.name} ({len(found):,} found)"] = time.process_time() - start
    return seconds


def filter_rate(records: int) -> float:
    """Return how many values of filters are scanned a second, by the rule that looks at each of them."""
    random = np.random.default_rng(1)
    layer = np.repeat(np.arange(FILTERS // 80), 80)
    scan, scanned, seconds = ZeroRuns(layer, 1e-9), 0, 0.0
    ZeroRuns(layer, 1e-9).advance(np.ones((8, FILTERS), np.float32))  # so that it is compiled
    for _ in range(0, records, AT_ONCE):
        values = random.random((AT_ONCE, FILTERS), np.float32)
        values[values < 0.2] = 0
        start = time.process_time()
        scan.advance(values)
        seconds += time.process_time() - start
        scanned += values.size
    return scanned / seconds


def following(path: Path, rules: list[Rule], looks: int, each: int) -> float:
    """Return the CPU seconds of a look at `each` new iterations at the end of the run; the mean of some."""
    run, follower = open_run(path), Following(rules)
    follower.update(run)
    first = run.iterations[1]
    writer = RunWriter.resume(path)
    random, spent = np.random.default_rng(2), 0.0
    for look in range(looks):
        write(writer, random, first + look * each, each)
        run.refresh()
        start = time.process_time()
        follower.update(run)
        spent += time.process_time() - start
    writer.close()
    return spent / looks


def peak_megabytes() -> float:
    """Return the most memory that this process has held."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def judged(name: str, value: float, limit: float, unit: str, least: bool = False) -> str:
    """Return a line with a figure and its limit."""
    kept = value >= limit if least else value <= limit
    return f"  {name:<52}{value:>12,.2f} {unit}  limit {limit:,g}  {'ok' if kept else 'MISSED'}"


def main() -> None:
    """Record in a process of its own, so that memory is that of searching; then search, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=1_000_000)
    iterations = parser.parse_args().iterations
    rules = [rule for rule in default_rules() if rule.kind is Kind.LAYER or rule.name == "network_change"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        recording = multiprocessing.get_context("spawn").Process(target=record, args=(path, iterations))
        recording.start()
        recording.join()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        print(f"{iterations:,} iterations x {LAYERS} layers x {len(NAMES)} statistics, CPU time; load {load:.1f}")
        searched(open_run(path), rules)  # compiles, or loads what was compiled
        seconds = searched(open_run(path), rules)
        for name, one in seconds.items():
            print(f"    {name:<50}{one:>12.2f} s")
        print(judged("all rules of layers", sum(seconds.values()), SECONDS * iterations / 1e6, "s"))
        print(judged("memory of it, with the caches, at its peak", peak_megabytes(), MEGABYTES, "MB"))
        second = following(path, rules, 20, 1000) / 10
        print(judged("following, at 100 iterations a second", 100 * second, 100 * SHARE, "% of a core"))
    rate = filter_rate(FILTER_RECORDS)
    print(judged("filters, million values a second", rate / 1e6, FILTER_VALUES / 1e6, "", least=True))


if __name__ == "__main__":
    main()
