"""A user's own statistics, recorded of every layer or filter like those that come with DeepTracker."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeptracker import Recorder, open_run, statistic
from deeptracker.data_model.errors import RecordingError
from deeptracker.data_model.missing import is_missing
from tests.tracker.networks import Mixed, small, train


@statistic(unit="", logarithmic=True, source="linear algebra")
def spectral_norm(weight):
    """Largest singular value of the weights.

    With the filters as rows.
    """
    return torch.linalg.matrix_norm(weight.flatten(1), 2) if weight.ndim > 1 else None


@statistic(per="filter")
def alignment(weight, gradient, before):
    "Cosine between a filter's gradient and what it changed by"
    if gradient is None:
        return None
    change = (weight - before).flatten(1)
    return torch.nn.functional.cosine_similarity(change, gradient.flatten(1))


@statistic
def broken(weight):
    "Not a number"
    return float("nan")


@pytest.mark.parametrize("every", [1, 3])
def test_own_statistics_are_recorded_of_layers_and_filters(tmp_path, every):
    torch.manual_seed(0)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []

    def look(_):
        norms.append([float(torch.linalg.matrix_norm(model[n].weight.detach().flatten(1), 2)) for n in (0, 4)])

    path = tmp_path / "run"
    own = [spectral_norm, alignment, broken]
    with Recorder(path, model, optimizer, every=every, filters_every=every, statistics=own) as recorder:
        train(model, optimizer, 7, log=recorder.log, seen=look)
    run = open_run(path)
    np.testing.assert_allclose(run.layers.spectral_norm, norms[::every], rtol=1e-5)
    # A step of plain gradient descent goes exactly against the gradient.
    np.testing.assert_allclose(run.filters.alignment, -1, atol=1e-4)
    assert np.isnan(run.layers.broken.values).all()
    assert not is_missing(run.layers.broken.values).any()
    described = {one.name: one for one in run.layer_statistics}["spectral_norm"]
    assert (described.meaning, described.logarithmic) == ("Largest singular value of the weights", True)
    assert run.query("spectral_norm", layers=["4"], buckets=2)["max"].max() == pytest.approx(max(n[1] for n in norms))


def test_none_leaves_a_layer_out(tmp_path):
    model = Mixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", model, optimizer, every=1, filters_every=1, statistics=[spectral_norm, alignment]):
        train(model, optimizer, 2)
    run = open_run(tmp_path / "run")
    missing = is_missing(run.layers.spectral_norm.values[0])
    assert [name for name, gone in zip(run.layers.layer.values, missing, strict=True) if gone] == ["bn1"]
    frozen = run.filter_slice("frozen")
    assert is_missing(run.filters.alignment.values[:, frozen]).all()
    assert not np.isnan(run.filters.alignment.values[:, run.filter_slice("conv1")]).any()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: statistic(lambda activations: 0), r"'<lambda>' takes \(activations\)"),
        (lambda: statistic(per="image")(lambda weight: 0), r'per="layer" or per="filter"'),
    ],
)
def test_a_function_that_is_no_statistic_is_refused(make, said):
    with pytest.raises(RecordingError, match=said):
        make()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (lambda weight: weight, "returned 36 values for layer '0'; one value was expected"),
        (lambda weight: 1 / 0, "failed on layer '0' of shape .*ZeroDivisionError.*Return None"),
        (lambda weight: "large", "returned 'large'; return numbers or a tensor"),
    ],
)
def test_a_statistic_that_does_not_work_is_told_before_training(tmp_path, own, said):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RecordingError, match=said):
        Recorder(tmp_path / "run", model, optimizer, statistics=[statistic(name="own")(own)])
    assert not (tmp_path / "run").exists()


def test_names_are_unique_and_functions_decorated(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for own, said in (
        (statistic(name="weight_l2")(lambda weight: 0), "Two statistics are called 'weight_l2'"),
        (lambda weight: 0, "decorated with @statistic"),
    ):
        with pytest.raises(RecordingError, match=said):
            Recorder(tmp_path / "run", model, optimizer, statistics=[own])


def test_a_resumed_run_wants_the_same_statistics(tmp_path):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        with Recorder(tmp_path / "run", model, optimizer, every=1, statistics=[spectral_norm], resume=True):
            train(model, optimizer, 2)
    assert open_run(tmp_path / "run").layers.spectral_norm.shape == (4, 2)
    with pytest.raises(RecordingError, match="statistics of layers differ in spectral_norm"):
        Recorder(tmp_path / "run", model, optimizer, resume=True)
