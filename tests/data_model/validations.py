"""Runs of validations for the tests, with a plain record of what was appended, and brute force over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeptracker.data_model.run import Run
from deeptracker.data_model.vocabulary import Description
from deeptracker.data_model.writer import RunWriter

CLASSES = 4


@dataclass
class Validated:
    """A run that images are validated in, and what a reader must find: one dict per validation, image to its result.

    A result is (class at that time, right, probability). `names` are the images in the order of the run.
    """

    path: Path
    random: np.random.Generator
    writer: RunWriter
    names: list[str] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)
    iterations: list[int] = field(default_factory=list)
    results: list[dict[str, tuple[int, bool, float]]] = field(default_factory=list)

    @classmethod
    def create(cls, path: Path, seed: int, images: int) -> Validated:
        """Start a run of so many images; nothing is validated yet."""
        made = cls(path, np.random.default_rng(seed), RunWriter.create(path, Description(), [], [], []))
        made.join(images)
        return made

    def join(self, images: int) -> None:
        """More images, from the next validation on."""
        for number in range(len(self.names), len(self.names) + images):
            self.classes[f"image {number}"] = int(self.random.integers(0, CLASSES))
            self.names.append(f"image {number}")

    def validate(self, count: int, missing: float = 0.05, relabelled: float = 0.0) -> None:
        """Append validations in which a share of the images is missing, and a share gets another class."""
        for _ in range(count):
            at = (self.iterations[-1] if self.iterations else 0) + int(self.random.integers(1, 4))
            chosen = [name for name in self.names if self.random.random() >= missing] or self.names[:1]
            for name in chosen:
                if self.random.random() < relabelled:
                    self.classes[name] = int(self.random.integers(0, CLASSES))
            right = self.random.random(len(chosen)) < 0.6
            chance = self.random.random(len(chosen)).astype(np.float32)
            chance[self.random.random(len(chosen)) < 0.01] = np.nan
            truth = np.array([self.classes[name] for name in chosen], np.int32)
            rank = np.where(right, 0, 1).astype(np.int32)
            self.writer.append_validation(at, chosen, truth, np.where(right, truth, truth + 1), chance, rank)
            self.iterations.append(at)
            results = zip(chosen, truth.tolist(), right.tolist(), chance.tolist(), strict=True)
            self.results.append({name: (label, hit, value) for name, label, hit, value in results})

    def resume(self, keep: int | None = None) -> None:
        """Close and go on, with `keep` from the iteration of that many validations."""
        self.writer.close()
        before = self.iterations[keep - 1] if keep else None
        self.writer = RunWriter.resume(self.path, before=before)
        if keep:
            del self.iterations[keep:], self.results[keep:]
            # An image has the class of the last change that is left.
            for changed in self.results:
                self.classes.update({name: label for name, (label, _, _) in changed.items()})

    def codes(self, order: list[str]) -> NDArray[np.int64]:
        """Return 0 missing, 1 wrong, 2 right, 3 forgotten, 4 learned; (validation, image)."""
        codes = np.zeros((len(self.results), len(order)), np.int64)
        for column, name in enumerate(order):
            last: bool | None = None
            for row, results in enumerate(self.results):
                if name in results:
                    right = results[name][1]
                    codes[row, column] = 1 + right + 2 * (last is not None and last != right)
                    last = right
        return codes


def brute(codes: NDArray[np.int64], images: NDArray[np.int64], first: int, stop: int) -> list[int]:
    """Count right, wrong, missing, learned and forgotten states of a block."""
    block = codes[first:stop, images]
    counts = [int((block == code).sum()) for code in range(5)]
    missing, wrong, right, forgotten, learned = counts
    return [right + learned, wrong + forgotten, missing, learned, forgotten]


def check_blocks(found: xr.Dataset, codes: NDArray[np.int64], members: list[NDArray[np.int64]]) -> None:
    """Compare every block with brute force; `members` are the images of each row."""
    edges = np.append(found.first_validation.values, 0)
    edges[-1] = edges[-2] + found.validations.values[-1] if len(found.validations) else 0
    counts = found["count"].values
    assert counts.shape == (len(members), len(edges) - 1, 5)
    for row, images in enumerate(members):
        for bucket in range(len(edges) - 1):
            assert counts[row, bucket].tolist() == brute(codes, images, edges[bucket], edges[bucket + 1])


def order_of(run: Run) -> list[str]:
    """Return the names of a run's images."""
    return [str(name) for name in run.images["id"].values]


def means(validated: Validated, validation: int, number: int | None) -> list[Any]:
    """Return error, loss and probability of a class (None: all images) at a validation; NaN where it had no image."""
    chosen = [one for one in validated.results[validation].values() if number is None or one[0] == number]
    if not chosen:
        return [np.nan] * 3
    chance = np.array([value for _, _, value in chosen])
    wrong = np.array([not right for _, right, _ in chosen])
    return [wrong.mean(), -np.log(np.maximum(chance, 1e-12)).mean(), chance.mean()]


def check_classes(run: Run, validated: Validated) -> None:
    """Compare the series of classes, and of all images, with their definition."""
    count = len(run.class_names)
    expected = np.array(
        [[means(validated, at, number) for number in range(count)] for at in range(len(run.classes.iteration))]
    )
    whole = np.array([means(validated, at, None) for at in range(len(expected))])
    for number, name in enumerate(("error", "loss", "probability")):
        np.testing.assert_allclose(run.classes[name].values, expected[:, :, number], rtol=1e-5)
        found = run.query(name, family="validation", buckets=10_000)
        np.testing.assert_allclose(found["mean"].values, whole[:, number], rtol=1e-5)
        pooled = run.query(name, family="classes", buckets=3)
        edges = np.searchsorted(validated.iterations, pooled.start.values)
        finite = np.isfinite(expected[:, :, number])
        np.testing.assert_array_equal(pooled["count"].values, np.add.reduceat(finite.astype(int), edges))
        recorded = np.isfinite(expected[:, :, 0]) & ~finite
        np.testing.assert_array_equal(pooled["nonfinite"].values, np.add.reduceat(recorded.astype(int), edges))
        check_groups(run, name, expected[:, :, number])


def check_groups(run: Run, name: str, expected: NDArray[np.float64]) -> None:
    """Compare groups of classes with the series of their members, (validation, class); by number and by name."""
    last = expected.shape[1] - 1
    groups = {"outer": [last, run.class_names[0]], "last": [run.class_names[last]], "none": []}
    found = run.query(name, family="classes", buckets=10_000, blocks=groups)
    finite = np.where(np.isfinite(expected), expected, np.nan)
    for block, numbers in (("outer", [0, last]), ("last", [last])):
        chosen = found.sel(block=block)
        np.testing.assert_allclose(chosen["max"], np.fmax.reduce(finite[:, numbers], axis=1), rtol=1e-5)
        np.testing.assert_allclose(chosen["min"], np.fmin.reduce(finite[:, numbers], axis=1), rtol=1e-5)
        np.testing.assert_array_equal(chosen["count"], np.isfinite(finite[:, np.unique(numbers)]).sum(axis=1))
    assert not found["count"].sel(block="none").any()


steps = st.one_of(
    st.tuples(st.just("validate"), st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 64, 130])),
    st.tuples(st.just("relabel"), st.integers(1, 4)),
    st.tuples(st.just("join"), st.sampled_from([1, 5, 40])),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("cut"), st.integers(1, 200)),
    st.tuples(st.just("commit"), st.just(0)),
)


def perform(validated: Validated, step: str, number: int) -> None:
    if step == "validate":
        validated.validate(number, missing=0.0 if number > 20 else 0.2)
    elif step == "relabel":
        validated.validate(number, relabelled=0.3)
    elif step == "join":
        validated.join(number)
        validated.validate(1)
    elif step == "resume":
        validated.resume()
    elif step == "cut":
        validated.resume(1 + number % len(validated.results))
    else:
        validated.writer.commit()
