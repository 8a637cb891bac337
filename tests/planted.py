"""A synthetic run in which it is known what is unusual, where and when, written by the real writer.

Two layers and classes are linked: filters of the layer jump when images of the class flip. Beside that there are a
loss spike, two drops of the learning rate and a stretch of NaN in one layer's gradients.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

ITERATIONS, EVERY, INTERVAL = 1500, 15, 3
FILTERS, IMAGES = 12, 12
CLASSES = ("cat", "dog", "owl", "yak")
LAYERS = [Layer(f"stage{n // 2}.{n % 2}.conv", "Conv2d", (FILTERS, 8, 3, 3), FILTERS) for n in range(6)]
LAYERS.append(Layer("stage2.norm", "BatchNorm2d", (FILTERS,)))
LINKS = ((2, 1), (4, 3))
"""(layer, class) by number."""
SPIKE, NAN, DROPS = 900, (1200, 1230), (600, 1100)
STATISTICS = [Statistic("gradient_nonfinite"), Statistic("relative_change_l2", group="update", logarithmic=True)]
LAST_VALIDATION = ITERATIONS - 1


def write_planted(path: Path, iterations: int = ITERATIONS, seed: int = 1) -> RunWriter:
    """Record the first `iterations` iterations and leave the run open."""
    description = Description("Planted links", "synthetic", CLASSES, synthetic=True)
    writer = RunWriter.create(path, description, LAYERS, STATISTICS, STATISTICS[1:])
    if iterations:
        extend_planted(writer, 0, iterations, seed)
    return writer


def extend_planted(writer: RunWriter, start: int, stop: int, seed: int = 1) -> None:
    """Append iterations [start, stop) of the same history and commit."""
    random = np.random.default_rng(seed)
    validations = np.arange(EVERY - 1, ITERATIONS, EVERY)
    shocks = {link: _shocks(random, len(validations)) for link in LINKS}
    _append_scalars(writer, random, start, stop)
    _append_filters(writer, random, (start, stop), validations, shocks)
    _append_validations(writer, random, (start, stop), validations, shocks)
    writer.commit()


def _shocks(random: np.random.Generator, count: int) -> np.ndarray:
    """Validations at which a link shows: irregular, and far enough apart for an image's answers to be stable."""
    places = 20 + np.cumsum(random.integers(6, 14, count))
    return places[places < count - 6]


def _append_scalars(writer: RunWriter, random: np.random.Generator, start: int, stop: int) -> None:
    iteration = np.arange(ITERATIONS)
    rate = np.select([iteration < DROPS[0], iteration < DROPS[1]], [0.1, 0.01], 0.001)
    loss = np.exp(-iteration / 1000 + 0.1 * random.normal(size=ITERATIONS))
    loss[SPIKE] *= 12
    part = slice(start, stop)
    writer.append_scalars(iteration[part], {"loss": loss[part], "learning_rate": rate[part]})
    values = np.zeros((ITERATIONS, len(STATISTICS), len(LAYERS)), np.float32)
    values[NAN[0] : NAN[1], 0, 3] = 5
    values[:, 1] = 0.01
    writer.append_layers(iteration[part], values[part], 1)


def _append_filters(
    writer: RunWriter,
    random: np.random.Generator,
    span: tuple[int, int],
    validations: np.ndarray,
    shocks: dict[tuple[int, int], np.ndarray],
) -> None:
    iteration = np.arange(0, ITERATIONS, INTERVAL)
    change = np.exp(-5 + 0.15 * random.normal(size=(len(iteration), 1, 6 * FILTERS))).astype(np.float32)
    for (layer, _), when in shocks.items():
        for validation in when:
            record = np.searchsorted(iteration, validations[validation] - EVERY // 2)
            change[record, 0, layer * FILTERS + random.choice(FILTERS, 3, replace=False)] *= 40
    inside = (iteration >= span[0]) & (iteration < span[1])
    writer.append_filters(iteration[inside], change[inside], INTERVAL)


def _append_validations(
    writer: RunWriter,
    random: np.random.Generator,
    span: tuple[int, int],
    validations: np.ndarray,
    shocks: dict[tuple[int, int], np.ndarray],
) -> None:
    truth = np.repeat(np.arange(len(CLASSES), dtype=np.int32), IMAGES)
    right = np.zeros((len(validations), len(truth)), bool)
    right[:, random.random(len(truth)) < 0.7] = True
    for (_, class_), when in shocks.items():
        for count, validation in enumerate(when):
            members = class_ * IMAGES + np.arange(count % 2, IMAGES, 2)
            right[validation:, members] = ~right[validation - 1, members]
    ids = [f"{CLASSES[class_]}-{number:02d}" for class_ in range(len(CLASSES)) for number in range(IMAGES)]
    for place in np.flatnonzero((validations >= span[0]) & (validations < span[1])):
        predicted = np.where(right[place], truth, (truth + 1) % len(CLASSES)).astype(np.int32)
        probability = np.where(right[place], 0.9, 0.2).astype(np.float32)
        rank = np.where(right[place], 0, 1).astype(np.int32)
        writer.append_validation(int(validations[place]), ids, truth, predicted, probability, rank)
        if place == 0:
            pictures = np.zeros((len(truth), 8, 8, 3), np.uint8)
            pictures[:, 2:6, 2:6] = (60 + truth * 45)[:, None, None, None]
            writer.add_thumbnails(ids, pictures)
