"""A small recorded run, written by the real writer without any training, for the tests of the app."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

CLASSES = ("zero", "one", "two")
LAYERS = [
    Layer("stem.conv", "Conv2d", (4, 1, 3, 3), 4),
    Layer("stage1.0.conv1", "Conv2d", (6, 4, 3, 3), 6),
    Layer("stage1.0.conv2", "Conv2d", (6, 6, 3, 3), 6),
    Layer("head", "Linear", (3, 6), 3),
]
STATISTICS = [
    Statistic("weight_mean", meaning="Mean of the weights.", group="weight"),
    Statistic("relative_change_l2", meaning="Change of the weights in one step.", group="update", logarithmic=True),
]
IMAGES = 30


def append(writer: RunWriter, start: int, stop: int, every: int = 25) -> None:
    """Append iterations [start, stop) of a falling loss, and a validation every `every` iterations."""
    rng = np.random.default_rng(start)
    iterations = np.arange(start, stop)
    rate = np.where(iterations < 200, 0.1, 0.01)
    loss = 2.0 * np.exp(-iterations / 150) + 0.02 + 0.01 * rng.random(len(iterations))
    writer.append_scalars(iterations, {"loss": loss, "learning_rate": rate})
    values = rng.random((len(iterations), len(STATISTICS), len(LAYERS))).astype("f4")
    writer.append_layers(iterations, values, 1)
    filters = sum(layer.filters for layer in LAYERS)
    some = iterations[iterations % 16 == 0]
    writer.append_filters(some, rng.random((len(some), 1, filters)).astype("f4"), 16)
    truth = np.arange(IMAGES, dtype="i4") % len(CLASSES)
    ids = [f"image-{number}" for number in range(IMAGES)]
    for iteration in iterations[iterations % every == 0]:
        wrong = rng.random(IMAGES) < np.exp(-iteration / 200)
        predicted = np.where(wrong, (truth + 1) % len(CLASSES), truth).astype("i4")
        probability = np.where(wrong, 0.2, 0.8).astype("f4")
        writer.append_validation(int(iteration), ids, truth, predicted, probability, wrong.astype("i4"))
    writer.commit()


def create(path: Path, name: str = "", iterations: int = 400) -> RunWriter:
    """Start a run of `iterations` iterations and leave it open."""
    writer = RunWriter.create(path, Description(name, "TinyNet", CLASSES), LAYERS, STATISTICS, STATISTICS[1:])
    if iterations:
        append(writer, 0, iterations)
    return writer


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Return a function that records a closed run: `make_run(path, name="", iterations=400)`."""

    def make(path: Path, name: str = "", iterations: int = 400) -> Path:
        create(path, name, iterations).close()
        return path

    return make
