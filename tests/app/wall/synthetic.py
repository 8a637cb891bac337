"""A synthetic source, made up and called so: decaying noisy series with planted spikes, as a tree of filters."""

import numpy as np

from deeptracker.app.wall.layout import tree_of
from deeptracker.app.wall.source import Envelope, States, until_next

ITERATIONS = 1_000_000
BINS = 8192


class SyntheticFilters:
    """Rows over a million iterations in 8192 stored bins, halved into coarser levels; finer than a bin is the bin."""

    def __init__(self, rows, seed=7):
        generator = np.random.default_rng(seed)
        time = np.arange(BINS, dtype=np.float32) / BINS
        rate = generator.uniform(2, 12, (rows, 1)).astype(np.float32)
        walk = generator.normal(0, 0.004, (rows, BINS)).astype(np.float32).cumsum(axis=1)
        drops = 1 - 0.5 * (time > 0.3) - 0.3 * (time > 0.6)
        middle = generator.uniform(0.2, 1, (rows, 1)).astype(np.float32) * np.exp(-rate * time) * drops + walk + 0.4
        width = (0.02 + 0.05 * drops) * generator.uniform(0.6, 1.4, (rows, BINS)).astype(np.float32)
        low, high = middle - width, middle + width * generator.uniform(1, 2, (rows, BINS)).astype(np.float32)
        self.spikes = {row: int(generator.integers(100, BINS - 100)) for row in range(0, rows, 5)}
        for row, at in self.spikes.items():
            high[row, at] += 1.5
        lost = np.zeros((rows, BINS), np.bool_)
        lost[1::97, BINS // 2] = True
        self.lost = [lost]
        self.levels = [(low.astype(np.float32), middle.astype(np.float32), high.astype(np.float32))]
        while self.levels[-1][0].shape[1] > 512:
            low, middle, high = (part.reshape(rows, -1, 2) for part in self.levels[-1])
            self.levels.append((low.min(axis=2), middle.mean(axis=2), high.max(axis=2)))
            self.lost.append(self.lost[-1].reshape(rows, -1, 2).any(axis=2))
        self.edges = np.linspace(0, ITERATIONS, BINS + 1).astype(np.int64)

    def envelope(self, entities, iterations, columns):
        first, last = iterations
        needed = columns * ITERATIONS / max(1, last - first)
        level = max([k for k in range(len(self.levels)) if BINS >> k >= needed], default=0)
        edges = self.edges[:: 1 << level]
        begin = max(0, int(np.searchsorted(edges, first, side="right")) - 1)
        end = max(begin, min(BINS >> level, int(np.searchsorted(edges, last, side="left"))))
        low, middle, high = (np.ascontiguousarray(part[entities, begin:end]) for part in self.levels[level])
        nonfinite = np.ascontiguousarray(self.lost[level][entities, begin:end])
        band = (high - low) / 6
        fields = (low, middle - band, middle, middle + band, high)
        return Envelope(edges[begin:end], edges[begin + 1 : end + 1], *fields, nonfinite)

    def pooled(self, members, iterations, columns):
        whole = self.envelope(np.concatenate([np.asarray(group) for group in members]), iterations, columns)
        edges = np.cumsum([0, *map(len, members)])[:-1]
        parts = (whole.band_low, whole.middle, whole.band_high)
        band_low, middle, band_high = (
            np.stack([part.mean(axis=0) for part in np.split(values, edges[1:])]) for values in parts
        )
        low, high = np.minimum.reduceat(whole.low, edges), np.maximum.reduceat(whole.high, edges)
        lost = np.logical_or.reduceat(whole.nonfinite, edges)
        return Envelope(whole.start, whole.stop, low, band_low, middle, band_high, high, lost)


def filter_tree(rows, stages=4, blocks=10):
    paths = [
        (f"stage{row * stages // rows + 1}", f"block{row * stages * blocks // rows % blocks}") for row in range(rows)
    ]
    return tree_of(paths, [f"filter {row}" for row in range(rows)])


class SyntheticImages:
    """Images that are learned at some validation, some of them forgotten now and then."""

    def __init__(self, images, validations=400, seed=3):
        generator = np.random.default_rng(seed)
        time = np.arange(validations) / validations
        learned = generator.uniform(0.02, 0.8, (images, 1))
        right = generator.random((images, validations)) < 0.97 / (1 + np.exp(-(time - learned) / 0.03))
        change = np.zeros_like(right)
        change[:, 1:] = right[:, 1:] != right[:, :-1]
        self.state = (right + 2 * change).astype(np.uint8)
        self.start = np.arange(validations) * (ITERATIONS // validations)

    def states(self, entities):
        return States(self.start, until_next(self.start), self.state[entities])
