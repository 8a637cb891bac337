"""Synthetic: a recorded run with something in it for every rule; it can be written in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeptracker.data_model.missing import recorded
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

ITERATIONS, EVERY, VALIDATE = 2400, 4, 20
FILTERS, LAYERS, IMAGES = 12, 8, 12
CLASSES = ("cat", "dog", "owl", "yak")
NAMES = (
    *(f"gradient_{name}" for name in ("l1", "l2", "min", "max", "std", "nonfinite")),
    *(f"weight_{name}" for name in ("l2", "min", "max", "mean", "median", "std", "nonfinite")),
    "relative_change_l2",
)
FILTER_NAMES = ("relative_change_l2", "gradient_l2")


def _layers(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return (iterations, layers) of every statistic, with what is wrong in it."""
    noise = {name: np.exp(0.05 * random.normal(size=(ITERATIONS, LAYERS))) for name in NAMES}
    drift = 1 + np.arange(ITERATIONS)[:, None] * 1e-5
    values = {
        "gradient_l2": noise["gradient_l2"].copy(),
        "gradient_l1": 8 * noise["gradient_l1"],
        "gradient_max": 4 * noise["gradient_max"],
        "gradient_min": -4 * noise["gradient_min"],
        "gradient_std": noise["gradient_std"].copy(),
        "gradient_nonfinite": np.zeros((ITERATIONS, LAYERS)),
        "weight_l2": drift * (1 + 1e-5 * np.log(noise["weight_l2"])),
        "weight_std": np.repeat(drift * 0.1, LAYERS, axis=1),
        "weight_max": 0.3 + 1e-4 * np.log(noise["weight_max"]),
        "weight_min": -0.3 + 1e-4 * np.log(noise["weight_min"]),
        "weight_mean": 1e-4 * np.log(noise["weight_mean"]),
        "weight_median": 1e-4 * np.log(noise["weight_median"]),
        "weight_nonfinite": np.zeros((ITERATIONS, LAYERS)),
        "relative_change_l2": 1e-3 * noise["relative_change_l2"],
    }
    values["gradient_std"][:, 6] /= 300
    values["gradient_l2"][1500:1600, 3] *= 6
    values["relative_change_l2"][1700:1800, 4] *= 5
    values["weight_l2"][1900:, 5] *= 1.5
    values["gradient_l2"][2060:2130] *= 4
    values["relative_change_l2"][1210:1307, 2] = 0
    values["weight_nonfinite"][1650:1720, 1] = 4
    return values


def _filters(random: np.random.Generator) -> np.ndarray:
    """Return (records, statistics, filters)."""
    values = np.exp(-5 + 0.15 * random.normal(size=(ITERATIONS // EVERY, 2, FILTERS * LAYERS)))
    for record, number in ((100, 3), (101, 3), (340, 25), (500, 39)):
        values[record, 0, number] *= 50
    values[330:470, 1, 17] = 0
    values[340:600, 0, 30] = 0
    return values


def _scalars(random: np.random.Generator) -> dict[str, np.ndarray]:
    loss = np.exp(random.normal(-1, 0.1, ITERATIONS))
    loss[[600, 601, 1111]] *= 40
    loss[1400:1460] *= 3
    loss[1728:1920] *= np.tile([1.0, 1.2, 0.8, 1.1], 48)
    loss[1000:1020] = recorded(np.full(20, np.nan))
    rate = np.select([np.arange(ITERATIONS) < 200, np.arange(ITERATIONS) < 2250], [0.1, 0.01], 0.1)
    return {"loss": loss, "learning_rate": rate}


def _results(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return probability and right (validations, images): stable answers that flip now and then, and two collapses."""
    validations, images = ITERATIONS // VALIDATE, IMAGES * len(CLASSES)
    odds = 2 + 0.2 * random.normal(size=(validations, images))
    odds[60:66] -= 3
    odds[90:96, :IMAGES] -= 4
    for image in range(30, images):
        odds[random.integers(20, 58) :, image] *= -1
    probability = 1 / (1 + np.exp(-odds))
    return probability, probability > 0.5


class History:
    """All that happens, and the writing of any part of it."""

    def __init__(self, seed: int = 3) -> None:
        random = np.random.default_rng(seed)
        self._values, self._of_filters = _layers(random), _filters(random)
        self._of_scalars, (self._probability, self._right) = _scalars(random), _results(random)

    def begin(self, path: Path) -> RunWriter:
        """Return a writer of the run, with nothing recorded yet."""
        layers = [Layer(f"layer{number}", "Conv2d", (FILTERS, 8, 3, 3), FILTERS) for number in range(LAYERS)]
        description = Description("Eventful", "synthetic", CLASSES, synthetic=True)
        statistics = [Statistic(name) for name in NAMES]
        filters, activations = [Statistic(name) for name in FILTER_NAMES], [Statistic("activation_dead")]
        return RunWriter.create(path, description, layers, statistics, filters, activations)

    def write(self, writer: RunWriter, start: int, stop: int) -> None:
        """Record the iterations [start, stop) and commit."""
        iteration = np.arange(start, stop)
        writer.append_scalars(iteration, {name: part[start:stop] for name, part in self._of_scalars.items()})
        table = np.stack([self._values[name][start:stop] for name in NAMES], axis=1).astype(np.float32)
        writer.append_layers(iteration, table, 1)
        records = np.arange(-(-start // EVERY), -(-stop // EVERY))
        if len(records):
            writer.append_filters(records * EVERY, self._of_filters[records].astype(np.float32), EVERY)
            dead = np.full((len(records), 1, LAYERS), 0.1, np.float32)
            dead[(records >= 350) & (records < 380), 0, 2] = 0.75
            writer.append_activations(records * EVERY, dead, EVERY)
        for place in range(len(self._right)):
            if start <= (at := (place + 1) * VALIDATE - 1) < stop:
                self._validate(writer, place, at)
        writer.commit()

    def _validate(self, writer: RunWriter, place: int, at: int) -> None:
        truth = np.repeat(np.arange(len(CLASSES), dtype=np.int32), IMAGES)
        ids = [f"{CLASSES[class_]}-{number}" for number, class_ in enumerate(truth)]
        right = self._right[place]
        predicted = np.where(right, truth, (truth + 1) % len(CLASSES)).astype(np.int32)
        probability = self._probability[place].astype(np.float32)
        writer.append_validation(at, ids, truth, predicted, probability, (~right).astype(np.int32))
