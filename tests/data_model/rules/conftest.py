"""A run held in memory, for rules: synthetic data in, the run's reading interface out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import xarray as xr

from deeptracker.data_model.flip_counts import FlipCounts
from deeptracker.data_model.rules.base import spans
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import Layer, Statistic


@dataclass
class FakeRun:
    """Synthetic. `iteration` is shared by all families; NaN in `missing` places means not recorded."""

    iteration: np.ndarray
    scalar_values: dict[str, np.ndarray] = field(default_factory=dict)
    layer_values: dict[str, np.ndarray] = field(default_factory=dict)
    filter_values: dict[str, np.ndarray] = field(default_factory=dict)
    filter_layer: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    correct: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    validation_iteration: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    missing: Callable[[np.ndarray], np.ndarray] = lambda values: np.zeros(values.shape, bool)
    reads: list[int] = field(default_factory=list)
    image_class: np.ndarray | None = None

    @property
    def iterations(self) -> tuple[int, int]:
        return (int(self.iteration[0]), int(self.iteration[-1]) + 1) if len(self.iteration) else (0, 0)

    @property
    def scalar_names(self) -> list[str]:
        return list(self.scalar_values)

    @property
    def layer_statistics(self) -> list[Statistic]:
        return [Statistic(name) for name in self.layer_values]

    @property
    def layer_list(self) -> list[Layer]:
        widths = [values.shape[1] for values in self.layer_values.values()]
        count = max([*widths, int(self.filter_layer.max(initial=-1)) + 1, 0])
        return [Layer(f"layer{number}", "Conv2d", (1, 1, 1, 1)) for number in range(count)]

    @property
    def class_names(self) -> list[str]:
        count = 1 if self.image_class is None else int(self.image_class.max()) + 1
        return ["only"] if count == 1 else [f"class{number}" for number in range(count)]

    @property
    def scalars(self) -> xr.Dataset:
        values = {name: ("iteration", series) for name, series in self.scalar_values.items()}
        return xr.Dataset(values, coords={"iteration": self.iteration})

    @property
    def layers(self) -> xr.Dataset:
        values = {name: (("iteration", "layer"), series) for name, series in self.layer_values.items()}
        return xr.Dataset(values, coords={"iteration": self.iteration})

    @property
    def activation_statistics(self) -> list[Statistic]:
        return []

    @property
    def activations(self) -> xr.Dataset:
        return xr.Dataset(coords={"iteration": self.iteration})

    @property
    def filters(self) -> xr.Dataset:
        values = {name: (("iteration", "filter"), series) for name, series in self.filter_values.items()}
        return xr.Dataset(values, coords={"iteration": self.iteration})

    def validation_results(self) -> ValidationResults:
        images = self.correct.shape[1]
        classes = np.zeros(images, np.int32) if self.image_class is None else self.image_class
        rank = np.where(self.correct == 1, 0, np.where(self.correct == 0, 1, -1)).astype(np.int32)
        predicted = np.where(rank >= 0, classes + rank, -1).astype(np.int32)
        ids = np.array([f"image{number}" for number in range(images)])
        iteration = self.validation_iteration
        nothing = np.zeros(predicted.shape, np.float32)
        return ValidationResults(iteration, ids, classes, predicted, nothing, rank)

    @property
    def validation(self) -> xr.Dataset:
        results = self.validation_results()
        probability = np.where(results.rank < 0, np.nan, np.where(results.rank == 0, 0.9, 0.1))
        return xr.Dataset(
            {"probability": (("validation", "image"), probability)},
            coords={"iteration": ("validation", results.iteration)},
        )

    def flip_counts(self) -> FlipCounts:
        return FlipCounts.none(self.correct.shape[1], len(self.class_names)).extended(self.validation_results())

    def result_portions(self) -> Iterator[tuple[np.ndarray, ValidationResults]]:
        results = self.validation_results()
        yield np.arange(len(results.image)), results

    def query(self, variable: str, *, family: str, iterations: tuple[int, int], buckets: int, **_: Any) -> xr.Dataset:
        raw = {"scalars": self.scalar_values, "layers": self.layer_values}[family][variable]
        values = raw.reshape(len(raw), -1)
        _, stops = spans(self.iteration)
        first = int(np.searchsorted(stops, iterations[0], "right"))
        last = int(np.searchsorted(self.iteration, iterations[1], "left"))
        size = max((last - first) // buckets, 1)
        first = first // size * size
        parts = [slice(at, min(at + size, len(values))) for at in range(first, last, size)]
        self.reads.append(len(parts))
        rows = [self._bucket(values[part]) for part in parts]
        dims = ("bucket",) if raw.ndim == 1 else ("bucket", "layer")
        columns = {
            name: (dims, np.array([row[name] for row in rows]).reshape(len(rows), *raw.shape[1:]))
            for name in ("min", "max", "mean", "count", "nonfinite")
        }
        columns["record_count"] = (("bucket",), np.array([part.stop - part.start for part in parts]))
        start = self.iteration[[part.start for part in parts]]
        stop = stops[[part.stop - 1 for part in parts]]
        return xr.Dataset(columns, coords={"start": ("bucket", start), "stop": ("bucket", stop)})

    def _bucket(self, part: np.ndarray) -> dict[str, np.ndarray]:
        finite = np.isfinite(part)
        count = finite.sum(axis=0)
        empty = np.where(count > 0, 0.0, np.nan)
        return {
            "min": np.where(finite, part, np.inf).min(axis=0) + empty,
            "max": np.where(finite, part, -np.inf).max(axis=0) + empty,
            "mean": np.where(finite, part, 0).sum(axis=0) / np.maximum(count, 1) + empty,
            "count": count,
            "nonfinite": (~finite & ~self.missing(part)).sum(axis=0),
        }


@pytest.fixture(scope="session")
def fake_run() -> type[FakeRun]:
    return FakeRun
