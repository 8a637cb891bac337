"""Pictures of images and of filters at size: what a question costs at screen resolution, warm and just opened.

Run: python tests/benchmarks/bench_images.py [--images N] [--validations N] [--filters N] [--records N] [--keep FOLDER]

Both runs are recorded by the writer before they are read, which takes far longer than reading them; with --keep they
stay, and a later call reads them again. `cold` has nothing decoded in memory, `warm` is the median of repeats of the
same question; the files are in the system's cache in both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deeptracker.data_model.run import Run, open_run
from deeptracker.data_model.shards import CHUNKS
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

ROWS, BUCKETS = 600, 1500
"""A screen."""
PER_CLASS, WIDE = 50, 2048
"""Images of a class, and filters of the widest layer, as in a ResNet-50 on ImageNet."""
REPEATS = 9
GOAL_MS = 30.0


def record_images(path: Path, images: int, validations: int) -> None:
    """Validate images that are learned one by one, and forgotten at times."""
    rng = np.random.default_rng(0)
    ids = [f"val_{number:08d}" for number in range(images)]
    truth = (np.arange(images) // PER_CLASS).astype(np.int32)
    classes = tuple(f"class {number}" for number in range(int(truth[-1]) + 1))
    learned = rng.random(images) * 1.2 * validations
    writer = RunWriter.create(path, Description("images", classes=classes, synthetic=True), [], [], [])
    for number in range(validations):
        right = rng.random(images) < np.where(learned < number, 0.9, 0.1)
        predicted = np.where(right, truth, (truth + 1) % len(classes)).astype(np.int32)
        chance = np.where(right, 0.8, 0.1).astype(np.float32)
        writer.append_validation(100 * number, ids, truth, predicted, chance, (~right).astype(np.int32))
        if number % 20 == 19:
            writer.commit()
    writer.close()


def record_filters(path: Path, filters: int, records: int) -> None:
    """Record one statistic of many filters in layers of at most `WIDE`."""
    rng = np.random.default_rng(0)
    sizes = [min(WIDE, filters - start) for start in range(0, filters, WIDE)]
    layers = [Layer(f"layer{number}", "Conv2d", (size, 1, 1, 1), size) for number, size in enumerate(sizes)]
    statistics = [Statistic("relative_change")]
    writer = RunWriter.create(path, Description("filters", synthetic=True), layers, statistics, statistics)
    for start in range(0, records, 256):
        count = min(256, records - start)
        values = rng.standard_normal((count, 1, filters), np.float32)
        writer.append_filters(16 * np.arange(start, start + count), values, 16)
    writer.close()


def ask(question: Callable[[], Any]) -> tuple[float, float]:
    """Return milliseconds with nothing decoded, and the median of repeats."""
    CHUNKS.clear()
    times = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        question()
        times.append(1e3 * (time.perf_counter() - begun))
    return times[0], float(np.median(times[1:]))


def questions_of_images(run: Run) -> dict[str, Callable[[], Any]]:
    """Return what is asked of the images, by name."""
    images, stop = run.images.sizes["image"], run.iterations[1]
    middle = images // PER_CLASS // 2 * PER_CLASS
    one_class = (middle, middle + PER_CLASS)
    validation = run.validation.sizes["validation"] // 2
    shuffled = np.random.default_rng(1).permutation(images)[:ROWS]
    return {
        "one class over all time, an image a row": lambda: run.image_states(one_class, rows=PER_CLASS, buckets=BUCKETS),
        "all states over all time": lambda: run.image_states(rows=ROWS, buckets=BUCKETS),
        "all images, a tenth of the time": lambda: run.image_states(
            iterations=(stop // 2, stop // 2 + stop // 10), rows=ROWS, buckets=BUCKETS
        ),
        "a tenth of the images over all time": lambda: run.image_states(
            (middle, middle + images // 10), rows=ROWS, buckets=BUCKETS
        ),
        "600 images in any order over all time": lambda: run.image_states(shuffled, rows=ROWS, buckets=BUCKETS),
        "one validation": lambda: run.validation["predicted"][validation].load(),
        "error of all classes over all time": lambda: run.query("error", family="classes", buckets=BUCKETS),
    }


def questions_of_filters(run: Run) -> dict[str, Callable[[], Any]]:
    """Return what is asked of the filters, by name."""
    stop = run.iterations[1]
    layer = range(min(WIDE, run.layer_list[0].filters))
    window = (stop // 3, stop // 3 + stop // 10)
    return {
        f"heat map of {len(layer)} filters over all time": lambda: run.query(
            "relative_change", family="filters", filters=layer, buckets=BUCKETS
        ),
        f"heat map of {len(layer)} filters, a tenth of the time": lambda: run.query(
            "relative_change", family="filters", filters=layer, iterations=window, buckets=BUCKETS
        ),
    }


def report(path: Path, record: Callable[[], None], questions: Callable[[Run], dict[str, Callable[[], Any]]]) -> None:
    """Record a run unless it is there, and print a line for each question."""
    begun = time.process_time()
    if not path.exists():
        record()
        print(f"recorded in {time.process_time() - begun:.0f} s of CPU time", flush=True)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"{path.name}: {size / 1e9:.2f} GB on disk; load {os.getloadavg()[0]:.1f}")
    print(f"{'question':<50}{'cold ms':>10}{'warm ms':>10}")
    for name, question in questions(open_run(path)).items():
        question()  # compiles
        cold, warm = ask(question)
        print(f"{name:<50}{cold:>10.1f}{warm:>10.1f}{'' if warm <= GOAL_MS else f'   above {GOAL_MS:.0f}'}", flush=True)


def main() -> None:
    """Record, ask and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--validations", type=int, default=5_000)
    parser.add_argument("--filters", type=int, default=26_560)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="where the runs are kept (default: nowhere)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        images = folder / f"{given.images} images x {given.validations} validations"
        filters = folder / f"{given.filters} filters x {given.records} records"
        report(images, lambda: record_images(images, given.images, given.validations), questions_of_images)
        report(filters, lambda: record_filters(filters, given.filters, given.records), questions_of_filters)


if __name__ == "__main__":
    main()
