"""What the killed writers record, everything a formula of the iteration; and what a reader must find of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model import logs
from deeptracker.data_model.errors import NotARunError
from deeptracker.data_model.run import Run
from deeptracker.data_model.storage import Place
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

SHARD = 8
"""Records of a shard: level 3 of the index is reached with 8 * 8**3 = 4,096 iterations."""

MOST = 60
"""Iterations appended at once, at most."""

JOINED, JOINED_IMAGE = 700, 800
VALIDATED, RELABELLED, SNAPSHOT, FILTERED = 16, 160, 256, 4
LAYERS = [Layer("a", "Conv2d", (2, 1), 2), Layer("b", "Conv2d", (1, 2), 1)]
LATE = Layer("late", "Conv2d", (1, 1), 1)
STATISTICS = [Statistic("value"), Statistic("double")]
CLASSES = ("cat", "dog", "owl")
IMAGES = 6

Iterations = NDArray[np.int64]


@contextmanager
def small_shards() -> Iterator[None]:
    """Let a shard hold `SHARD` records in everything that is begun meanwhile, in this process."""
    with mock.patch.object(logs, "records_per_shard", return_value=SHARD):
        yield


def open_writer(place: Place, before: int | None) -> RunWriter:
    """Begin a run, or continue the one that is there, from iteration `before` if that is given."""
    try:
        return RunWriter.resume(place, before=before)
    except NotARunError:
        return RunWriter.create(place, Description(classes=CLASSES), LAYERS, STATISTICS, STATISTICS[:1])


def append(writer: RunWriter, start: int, stop: int) -> None:
    """Append the iterations [start, stop) of everything."""
    if start >= JOINED and len(writer.layers) == len(LAYERS):
        writer.add_layers([LATE])
    iterations = np.arange(start, stop)
    writer.append_layers(iterations, _layers(iterations, len(writer.layers)))
    some = iterations[iterations % FILTERED == 0]
    if len(some):
        writer.append_filters(some, _filters(some, sum(layer.filters for layer in writer.layers)), FILTERED)
    scalars = {"loss": iterations / 2}
    if start >= JOINED:
        scalars["late"] = iterations * 3.0
    writer.append_scalars(iterations, scalars)
    for at in iterations[iterations % VALIDATED == 0].tolist():
        images = np.arange(IMAGES + (at >= JOINED_IMAGE))
        truth, right = classes_at(images, at), answers(images, at)
        predicted = np.where(right, truth, (truth + 1) % len(CLASSES)).astype(np.int32)
        chance = np.full(len(images), at, np.float32)
        writer.append_validation(at, [str(one) for one in images], truth, predicted, chance, (~right).astype(np.int32))
    for at in iterations[iterations % SNAPSHOT == 0].tolist():
        writer.append_snapshot(at, [np.full(layer.shape, at, np.float32) for layer in writer.layers])


def _layers(iterations: Iterations, layers: int) -> NDArray[np.float32]:
    values = np.stack([iterations, 2 * iterations], axis=1)[:, :, None] + 0.25 * np.arange(layers)
    return values.astype(np.float32)


def _filters(iterations: Iterations, filters: int) -> NDArray[np.float32]:
    return (iterations[:, None, None] + 0.25 * np.arange(filters)).astype(np.float32)


def classes_at(images: NDArray[np.int64], at: int) -> NDArray[np.int32]:
    """Return the class that each image is given at an iteration: all change now and then."""
    return ((images + at // RELABELLED) % len(CLASSES)).astype(np.int32)


def answers(images: NDArray[np.int64], at: int) -> NDArray[np.bool_]:
    """Return whether each image is judged right at an iteration."""
    right: NDArray[np.bool_] = (images + at // VALIDATED) % 3 != 0
    return right


def check(run: Run) -> int:
    """Assert that every record and every bucket of a run is what its formula says; return how many there are."""
    stop = run.steps
    if not stop:
        return 0
    iterations = np.arange(stop)
    _check_late(run.layers["double"].values, _layers(iterations, len(run.layer_list))[:, 1], len(LAYERS))
    np.testing.assert_array_equal(run.scalars["loss"].values, iterations / 2)
    some = iterations[iterations % FILTERED == 0]
    filters = sum(layer.filters for layer in run.layer_list)
    _check_late(run.filters["value"].values, _filters(some, filters)[:, 0], sum(layer.filters for layer in LAYERS))
    for buckets in (1, 20, 300):
        found = run.query("double", family="layers", buckets=buckets, layers=["b"])
        np.testing.assert_array_equal(found["min"].values[:, 0], 2 * found.start + 0.25)
        np.testing.assert_array_equal(found["max"].values[:, 0], 2 * (found.stop - 1) + 0.25)
        np.testing.assert_array_equal(found["count"].values[:, 0], found.stop - found.start)
    _check_images(run, stop)
    for number, at in enumerate(run.snapshot_iterations.tolist()):
        assert (run.kernels("a", number) == at).all()
    return stop


def _check_late(values: NDArray[np.float32], expected: NDArray[np.float32], early: int) -> None:
    """What was there from the start is complete; what joined is missing or right, and complete some time later."""
    np.testing.assert_array_equal(values[:, :early], expected[:, :early])
    late, wanted = values[:, early:], expected[:, early:]
    there = ~np.isnan(late)
    np.testing.assert_array_equal(late[there], wanted[there])
    assert there[wanted >= 2 * (JOINED + MOST)].all()


def _check_images(run: Run, stop: int) -> None:
    expected = np.arange(0, stop, VALIDATED)
    results = run.validation_results()
    np.testing.assert_array_equal(results.iteration, expected)
    names = results.image.astype(str).astype(np.int64)
    last = int(expected[-1])
    # After a cut to before it came, an image keeps the class that it came with.
    known = np.where(names < IMAGES, classes_at(names, last), classes_at(names, max(last, JOINED_IMAGE)))
    np.testing.assert_array_equal(results.image_class, known, f"classes at {last}")
    for number, at in enumerate(expected.tolist()):
        seen = (names < IMAGES) | (at >= JOINED_IMAGE)
        np.testing.assert_array_equal(results.seen[number], seen)
        np.testing.assert_array_equal(results.right[number][seen], answers(names[seen], at))
        assert (results.probability[number][seen] == at).all()
    right = sum(int(answers(names[(names < IMAGES) | (at >= JOINED_IMAGE)], at).sum()) for at in expected.tolist())
    for buckets in (1, 30):
        assert int(run.image_states(buckets=buckets)["count"].sel(state="right").sum()) == right
    assert int(run.classes["error"].notnull().sum()) > 0
