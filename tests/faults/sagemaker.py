"""The rules of SageMaker Debugger at their defaults, re-created from their documentation, as something to compare with.

What they look at is not always recorded as they do: the spread of a gradient (5th to 95th percentile) is taken from its
standard deviation, the size of an update from the mean of its magnitudes over that of the weights, `allclose` from the
share of weights that moved by more than 1e-5 of themselves. DeadRelu and SaturatedActivation need activations, which
these trainings do not record; what they are after is left to the other rules. A rule that holds at a step fires there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.episodes import Episode, episodes_of_run
from deeptracker.data_model.run import Run

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Made = Iterator[tuple[str, Kind, list[str], npt.NDArray[np.int64], Mask]]
"""Rule, kind and names of what it holds for, iterations, and whether it holds, (records, names)."""


def _statistic(run: Run, name: str) -> Floats:
    return np.asarray(run.layers[name].values, np.float64)


def _lasting(mask: Mask, steps: int) -> Mask:
    """Whether it held at each of the last `steps` steps."""
    held = np.zeros_like(mask)
    if len(mask) >= steps:
        held[steps - 1 :] = np.lib.stride_tricks.sliding_window_view(mask, steps, axis=0).all(axis=-1)
    return held


def of_layers(run: Run) -> Made:
    """VanishingGradient, ExplodingTensor, WeightUpdateRatio, AllZero, UnchangedTensor, PoorWeightInitialization."""
    names = [layer.name for layer in run.layer_list]
    iteration = np.asarray(run.layers["iteration"].values, np.int64)
    size = np.array([np.prod(layer.shape) for layer in run.layer_list], np.float64)
    gradient, change = _statistic(run, "gradient_l1"), _statistic(run, "relative_change_l1")
    broken = _statistic(run, "weight_nonfinite") + _statistic(run, "gradient_nonfinite") > 0
    yield "VanishingGradient", Kind.LAYER, names, iteration, gradient / size < 1e-7
    yield "ExplodingTensor", Kind.LAYER, names, iteration, broken
    yield "WeightUpdateRatio", Kind.LAYER, names, iteration, (change > 10) | (change < 1e-8)
    yield "AllZero", Kind.LAYER, names, iteration, (gradient == 0) | (_statistic(run, "weight_nonzero") == 0)
    yield "UnchangedTensor", Kind.LAYER, names, iteration, _lasting(_statistic(run, "change_above_1e-5") == 0, 3)
    spread = np.array([len(layer.shape) > 1 for layer in run.layer_list])  # norm layers begin with equal weights
    variance = _statistic(run, "weight_std")[:10, spread] ** 2
    narrow = 3.29 * _statistic(run, "gradient_std")[:10, spread].min(axis=1) < 0.001
    poor = (variance.max(axis=1) > 10 * variance.min(axis=1)) | narrow
    yield "PoorWeightInitialization", Kind.SCALAR, ["network"], iteration[:10], poor[:, None]


def of_losses(run: Run) -> Made:
    """LossNotDecreasing, ExplodingTensor of the loss, Overfit, Overtraining."""
    iteration = np.asarray(run.scalars["iteration"].values, np.int64)
    loss = np.asarray(run.scalars["loss"].values, np.float64)
    yield "ExplodingTensor", Kind.SCALAR, ["loss"], iteration, ~np.isfinite(loss)[:, None]
    still = np.zeros(len(loss), np.bool_)
    still[10:] = ~(loss[10:] < loss[:-10] * (1 - 0.001))
    yield "LossNotDecreasing", Kind.SCALAR, ["loss"], iteration, still[:, None]
    yield "Overtraining", Kind.SCALAR, ["loss"], iteration, _patient(loss, 5)[:, None]
    found = run.query("loss", family="validation", buckets=10**9)
    when, validation = np.asarray(found["start"].values, np.int64), np.asarray(found["mean"].values, np.float64)
    place = np.searchsorted(iteration, when, "right")
    first = np.append(0, place[:-1])
    trained = np.array([loss[a:b].mean() if b > a else np.nan for a, b in zip(first, place, strict=True)])
    with np.errstate(invalid="ignore", divide="ignore"):
        over = (validation - trained) / trained > 0.1
    yield "Overfit", Kind.SCALAR, ["validation"], when, over[:, None]
    yield "Overtraining", Kind.SCALAR, ["validation"], when, _patient(validation, 10)[:, None]


def _patient(loss: Floats, patience: int) -> Mask:
    """Whether the last `patience` values all failed to get below the best before them by 0.1."""
    best = np.minimum.accumulate(np.where(np.isfinite(loss), loss, np.inf))
    failed = np.zeros(len(loss), np.bool_)
    failed[1:] = ~(loss[1:] < best[:-1] - 0.1)
    return _lasting(failed, patience)


def of_classes(run: Run) -> Made:
    """ClassImbalance (of errors, after 500 labels) and Confusion, of the validation."""
    results = run.validation_results()
    names = list(run.class_names)
    truth = np.asarray(results.image_class)
    seen = np.cumsum(results.seen.sum(axis=1)) >= 500
    shares = np.zeros((len(results.iteration), len(names), len(names)))
    for row, predicted in enumerate(results.predicted):
        np.add.at(shares[row], (truth, predicted), 1)
    shares /= np.maximum(shares.sum(axis=2, keepdims=True), 1)
    right = np.einsum("vcc->vc", shares)
    taken = (shares - np.eye(len(names)) * right[:, None]).max(axis=2)
    when = np.asarray(results.iteration, np.int64)
    yield "ClassImbalance", Kind.CLASS, names, when, seen[:, None] & (right < 0.3)
    yield "Confusion", Kind.CLASS, names, when, (right < 0.9) | (taken > 0.1)


def _anomalies(made: Made) -> Iterator[Anomaly]:
    for rule, kind, names, iteration, mask in made:
        for index, name in enumerate(names):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[:, index].astype(np.int8), [0]])))
            for start, stop in edges.reshape(-1, 2):
                span = (int(iteration[start]), int(iteration[stop - 1]) + 1)
                yield Anomaly(rule, kind, name, index, *span, 1.0, f"{rule} of {name}", Standing.STRONG)


def _episodes(*parts: Callable[[Run], Made]) -> Callable[[Run], list[Episode]]:
    def find(run: Run) -> list[Episode]:
        with np.errstate(over="ignore", invalid="ignore"):  # means of what has exploded
            return episodes_of_run(run, [one for part in parts for one in _anomalies(part(run))])

    return find


layer_rules = _episodes(of_layers)
"""Finds the episodes of the rules about layers."""
all_rules = _episodes(of_layers, of_losses, of_classes)
"""Finds the episodes of all rules that these recordings can be judged by."""
