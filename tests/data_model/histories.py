"""Recordings with a history: appended in pieces, committed, resumed, cut, grown; and what a reader must find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptracker.data_model.missing import recorded
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

NETWORK = [
    Layer("stem", "Conv2d", (3, 1, 3, 3), 3),
    Layer("stage1.0.conv", "Conv2d", (2, 3, 3, 3), 2),
    Layer("stage1.0.norm", "BatchNorm2d", (2,), 0),
    Layer("stage1.1.conv", "Conv2d", (4, 2, 3, 3), 4),
    Layer("stage10.conv", "Conv2d", (1, 4, 3, 3), 1),
    Layer("stage10", "Scale", (1,), 1),
]
CLASSES = ("cat", "dog", "cow")
IMAGES = [f"image {number}" for number in range(7)]
EVERY = {"scalars": 1, "layers": 1, "filters": 4, "activations": 3}
VARIABLE = {"scalars": "loss", "layers": "second", "filters": "second", "activations": "output"}

Series = NDArray[np.floating[Any]]


def wild(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "f4") -> Series:
    """Values with spikes of one record, recorded NaN, both infinities, and gaps where nothing was recorded."""
    values = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(dtype)
    kind = rng.random(shape)
    values[kind < 0.01] = 1e6
    values[(kind > 0.97) & (kind < 0.98)] = np.inf
    values[(kind > 0.98) & (kind < 0.985)] = -np.inf
    values[(kind > 0.985) & (kind < 0.99)] = np.nan
    marked = np.array(recorded(values))
    marked[kind > 0.99] = np.nan
    return marked


class History:
    """Records into a run, and keeps every record beside it: `iterations` and `values` (records, series) by family.

    What is kept of layers, filters and activations is their last statistic.
    """

    def __init__(self, path: Path, seed: int) -> None:
        two = [Statistic("first"), Statistic("second")]
        self.path, self.rng, self.at, self.layers = path, np.random.default_rng(seed), 0, list(NETWORK)
        self.writer = RunWriter.create(path, Description(classes=CLASSES), NETWORK, two, two, [Statistic("output")])
        self.iterations: dict[str, NDArray[np.int64]] = {family: np.empty(0, np.int64) for family in EVERY}
        self.values: dict[str, Series] = {
            "scalars": np.empty((0, 1)),
            **{family: np.empty((0, self.width(family)), np.float32) for family in EVERY if family != "scalars"},
        }
        self.intervals = dict.fromkeys(EVERY, 1)
        self.validations: list[int] = []

    def width(self, family: str) -> int:
        if family == "scalars":
            return 1
        return sum(layer.filters for layer in self.layers) if family == "filters" else len(self.layers)

    def append(self, count: int, interval: int) -> None:
        """Append `count` records of layers and scalars, and every few of them records of filters and activations."""
        iterations = self.at + interval * np.arange(count)
        for family, every in EVERY.items():
            some = iterations[::every]
            if family == "scalars":
                values = wild(self.rng, (count, 1), "f8")
                values[np.isnan(values)] = 0.5  # a step without any scalar is no record at all
                self.writer.append_scalars(iterations, {"loss": values[:, 0]})
            else:
                values = wild(self.rng, (len(some), 1 if family == "activations" else 2, self.width(family)))
                getattr(self.writer, f"append_{family}")(some, values, interval * every)
                values = values[:, -1]
            self.iterations[family] = np.append(self.iterations[family], some)
            self.values[family] = np.concatenate([self.values[family], values])
            self.intervals[family] = 1 if family == "scalars" else interval * every
        self.at += count * interval

    def skip(self, iterations: int) -> None:
        """Record nothing for some iterations."""
        self.at += iterations

    def commit(self) -> None:
        """Make what came so far visible."""
        self.writer.commit()

    def validate(self, count: int) -> None:
        """Append validations of some images, an iteration apart."""
        for _ in range(count):
            if self.validations and self.validations[-1] >= self.at:
                self.at += 1
            seen = np.flatnonzero(self.rng.random(len(IMAGES)) < 0.8)
            truth = (seen % len(CLASSES)).astype(np.int32)
            rank = self.rng.integers(0, 3, len(seen)).astype(np.int32)
            chance = self.rng.random(len(seen)).astype(np.float32)
            ids = [IMAGES[number] for number in seen]
            self.writer.append_validation(self.at, ids, truth, (truth + rank) % 3, chance, rank)
            self.validations.append(self.at)

    def join(self, filters: int) -> None:
        """Let a layer join: nothing was recorded of it before."""
        self.layers.append(Layer(f"late.{len(self.layers)}", "Conv2d", (filters, 1), filters))
        self.writer.add_layers(self.layers[-1:])
        for family in ("layers", "filters", "activations"):
            missing = self.width(family) - self.values[family].shape[1]
            self.values[family] = np.pad(self.values[family], ((0, 0), (0, missing)), constant_values=np.nan)

    def resume(self, close: bool) -> None:
        """Close the run, or let its writer die after a commit, and go on."""
        if close:
            self.writer.close()
        else:
            self.writer.commit()
            self.writer.abandon()
        self.writer = RunWriter.resume(self.path)

    def cut(self, share: float, close: bool) -> None:
        """Resume from an earlier iteration: what came from there on is forgotten."""
        self.at = before = int(self.at * share)
        if close:
            self.writer.close()
        else:
            self.writer.commit()
            self.writer.abandon()
        self.writer = RunWriter.resume(self.path, before)
        for family, iterations in self.iterations.items():
            kept = int(np.searchsorted(iterations, before))
            self.iterations[family], self.values[family] = iterations[:kept], self.values[family][:kept]
        self.validations = [one for one in self.validations if one <= before]


COUNTS = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 129, 511, 513])
STEPS = st.one_of(
    st.tuples(st.just("append"), COUNTS, st.sampled_from([1, 1, 2, 7])),
    st.tuples(st.just("append"), COUNTS, st.sampled_from([1, 1, 2, 7])),
    st.tuples(st.just("skip"), st.integers(1, 40)),
    st.tuples(st.just("commit")),
    st.tuples(st.just("validate"), st.integers(1, 70)),
    st.tuples(st.just("join"), st.integers(0, 3)),
    st.tuples(st.just("resume"), st.booleans()),
    st.tuples(st.just("cut"), st.floats(0, 1), st.booleans()),
)


def told(path: Path, seed: int, steps: list[tuple[Any, ...]]) -> History:
    """Return what has become of a run after some steps; the run is still open, its last records not committed."""
    history = History(path, seed)
    for name, *arguments in steps:
        getattr(history, name)(*arguments)
    return history
