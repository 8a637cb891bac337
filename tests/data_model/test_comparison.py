"""Comparing synthetic runs whose differences are known: what parts, where, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptracker import compare_runs, open_run
from deeptracker.app.command import main
from deeptracker.data_model.alignment import Align, Course, course_of
from deeptracker.data_model.divergence import Parting, first_parting, parting, resample
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import Run
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

LENGTH, EVERY, IMAGES = 2000, 10, 30
CLASSES = ("cat", "dog", "owl")
STATISTICS = [Statistic("gradient_l2", logarithmic=True), Statistic("weight_mean")]
APART, WORSE = 1200, 1500
"""Where layer 1 of a changed run parts, and where its class dog does."""


def record(
    path: Path,
    seed: int,
    *,
    changed: bool = False,
    layers: tuple[str, ...] = ("conv1", "conv2", "fc"),
    parameters: tuple[tuple[str, Any], ...] = (),
    pace: float = 1.0,
    scalars: dict[str, np.ndarray] | None = None,
) -> Run:
    """Record a run of a decaying loss; `pace` is how fast it goes through the same course."""
    random, iteration = np.random.default_rng(seed), np.arange(round(LENGTH / pace))
    course = np.exp(-iteration * pace / 800)
    writer = RunWriter.create(
        path,
        Description(path.name, "synthetic", CLASSES, parameters, synthetic=True),
        [Layer(name, "Conv2d", (4, 4, 3, 3)) for name in layers],
        STATISTICS,
        [],
    )

    def noise(*shape: int) -> np.ndarray:
        return np.asarray(1 + 0.05 * random.normal(size=(len(iteration), *shape)))

    writer.append_scalars(iteration, {"loss": course * noise(), **(scalars or {})})
    values = np.empty((len(iteration), 2, len(layers)), np.float32)
    values[:, 0] = course[:, None] * noise(len(layers))
    values[:, 1] = 0.1 * random.normal(size=(len(iteration), len(layers)))
    if changed:
        values[iteration * pace >= APART, 0, 1] *= 1.5
    writer.append_layers(iteration, values, 1)
    truth = np.repeat(np.arange(3, dtype=np.int32), IMAGES // 3)
    ids = [f"image-{number:02d}" for number in range(IMAGES)]
    for at in iteration[EVERY - 1 :: EVERY]:
        probability = np.clip(0.5 + 0.4 * (1 - course[at]) + 0.05 * random.normal(size=IMAGES), 0.05, 0.95)
        if changed and at * pace >= WORSE:
            probability[truth == 1] -= 0.4
        right = probability > 0.6
        right[0] = not changed
        right[1] = changed
        predicted = np.where(right, truth, (truth + 1) % 3).astype(np.int32)
        rank = np.where(right, 0, 1).astype(np.int32)
        writer.append_validation(int(at), ids, truth, predicted, probability.astype(np.float32), rank)
    writer.close()
    return open_run(path)


@given(
    st.lists(st.floats(0.1, 3), min_size=1, max_size=12),
    st.floats(0, 5),
    st.floats(0.5, 30),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_resampling_weighs_by_overlap(lengths: list[float], start: float, span: float, buckets: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    bounds = np.cumsum([0.0, *lengths])
    values = random.normal(size=(len(lengths), 2))
    values[random.random(values.shape) < 0.2] = np.nan
    edges = np.linspace(start, start + span, buckets + 1)
    found = resample(edges, bounds[:-1], bounds[1:], values)
    for bucket in range(buckets):
        overlap = np.minimum(bounds[1:], edges[bucket + 1]) - np.maximum(bounds[:-1], edges[bucket])
        for entity in range(2):
            weight = np.where(np.isfinite(values[:, entity]), np.maximum(overlap, 0), 0)
            if weight.sum() > 1e-6 * span:
                expected = np.nansum(weight * np.nan_to_num(values[:, entity])) / weight.sum()
                assert found[bucket, entity] == pytest.approx(expected, rel=1e-5, abs=1e-6)
            elif weight.sum() == 0:
                assert np.isnan(found[bucket, entity])


def test_the_first_parting_lasts_and_keeps_its_side() -> None:
    z = np.array([[0, 9, 0, 9, 9, 9, 9], [9, -9, 9, -9, 9, -9, 9], [-7, -7, -7, 0, 9, 9, 9], [0] * 7]).T
    found = Parting(z.astype(float), np.ones(z.shape))
    assert first_parting(found, 6, 3).tolist() == [3, -1, 0, -1]


def test_noise_is_that_of_the_repeats() -> None:
    random = np.random.default_rng(1)
    first, second = (random.normal(size=(3, 400, 50)) for _ in range(2))
    found = parting(first, second)
    assert np.std(found.z) == pytest.approx(1, abs=0.15), "differences of equals are about one noise"
    alone = parting(first[:1], second[:1])
    assert np.std(alone.z) == pytest.approx(1, abs=0.15), "and so without repeats, where buckets are independent"


def test_what_was_changed_parts_where_it_was_changed(tmp_path: Path) -> None:
    runs = [[record(tmp_path / f"{kind}{n}", 10 * kind + n, changed=kind == 1) for n in range(3)] for kind in range(2)]
    compared = compare_runs(runs)
    assert compared.unmatched == {}
    assert "4 degrees of freedom" in compared.noise
    parted = compared.partings()
    assert set(zip(parted["variable"], parted["entity"], strict=True)) >= {("gradient_l2", "conv2"), ("error", "dog")}
    assert set(parted["entity"]) <= {"conv2", "dog", ""}
    layer = parted[parted["entity"] == "conv2"].iloc[0]
    assert layer["position"] == pytest.approx(APART, abs=2 * LENGTH / 200)
    assert layer["iteration"] == pytest.approx(layer["position"], abs=1)
    assert layer["difference"] == pytest.approx(np.log(1.5), abs=0.1)
    assert parted.iloc[0]["entity"] == "conv2", "what parted first comes first"
    class_ = parted[parted["entity"] == "dog"]["position"].min()
    assert class_ == pytest.approx(WORSE, abs=3 * LENGTH / 200)
    images = compared.images()
    assert {"image-00", "image-01"} <= set(images["id"])
    first = images.set_index("id").loc["image-00"]
    assert (first["class"], first[compared.names[0]], first[compared.names[1]]) == ("cat", 1, 0)


def test_runs_without_a_difference_do_not_part(tmp_path: Path) -> None:
    same = [record(tmp_path / f"{n}", n) for n in range(6)]
    assert len(compare_runs([same[:3], same[3:]]).partings()) == 0
    single = compare_runs(same[:2])
    assert "no repeats" in single.noise
    assert len(single.partings()) == 0
    assert len(single.images()) == 0


def test_twins_part_at_the_first_difference(tmp_path: Path) -> None:
    """Of the same seed: equal to the bit up to the change, so there is no noise but the precision of the values."""
    parted = compare_runs([record(tmp_path / "a", 1), record(tmp_path / "b", 1, changed=True)]).partings()
    assert parted.iloc[0]["entity"] == "conv2"
    assert parted.iloc[0]["position"] == pytest.approx(APART, abs=LENGTH / 200)


def test_a_series_is_aligned_at_any_zoom(tmp_path: Path) -> None:
    one, two = record(tmp_path / "a", 1), record(tmp_path / "b", 2, changed=True)
    compared = compare_runs([one, two])
    found = compared.series("gradient_l2", "layers", window=(400, 500), buckets=5, entities=["conv2"])
    for group, run in enumerate((one, two)):
        raw = run.layers["gradient_l2"].values[400:500, 1].reshape(5, 20).mean(axis=1)
        np.testing.assert_allclose(found["value"].values[group, :, 0], raw, rtol=1e-5)
    np.testing.assert_allclose(found["difference"][1], found["value"][1] - found["value"][0])
    assert found["iteration"].values[0].tolist() == [400, 420, 440, 460, 480]
    assert compared.series("loss", "scalars", buckets=7)["value"].dims == ("group", "bucket")
    with pytest.raises(QueryError, match="gradient_l2, weight_mean of layers, no 'nothing'"):
        compared.series("nothing", "layers")
    with pytest.raises(QueryError, match="conv9"):
        compared.series("gradient_l2", "layers", entities=["conv9"])


def test_batches_of_other_sizes_are_aligned_by_samples(tmp_path: Path) -> None:
    """Twice the batch goes through the same course in half the iterations."""
    small = [record(tmp_path / f"a{n}", n, parameters=(("batch_size", 32),)) for n in range(2)]
    large = [record(tmp_path / f"b{n}", 5 + n, parameters=(("batch size", 64),), pace=2) for n in range(2)]
    assert len(compare_runs([small, large]).partings()) > 0
    compared = compare_runs([small, large], align="samples")
    assert compared.window == (0, LENGTH * 32)
    assert "loss" not in set(compared.partings()["variable"])
    iterations = compared.series("loss", "scalars", buckets=4)["iteration"].values
    assert iterations.tolist() == [[0, 500, 1000, 1500], [0, 250, 500, 750]]


def test_epochs_come_from_a_scalar_or_from_parameters(tmp_path: Path) -> None:
    epoch = {"epoch": np.arange(LENGTH) // 100 * 1.0}
    logged = course_of(record(tmp_path / "a", 1, scalars=epoch), Align.EPOCH)
    assert logged.position([0, 50, 100, 1950, 2000]).tolist() == [0, 0.5, 1, 19.5, 20]
    told = course_of(record(tmp_path / "b", 1, parameters=(("batch-size", 30), ("Training images", 2990))), Align.EPOCH)
    assert told.position(1000) == pytest.approx(10)
    assert told.iteration(10) == pytest.approx(1000)
    with pytest.raises(QueryError, match=r"recorder.log\(epoch="):
        compare_runs([record(tmp_path / "c", 1), record(tmp_path / "d", 1)], align="epoch")
    with pytest.raises(QueryError, match="falls at iteration 5"):
        course_of(record(tmp_path / "e", 1, scalars={"epoch": np.where(np.arange(LENGTH) < 5, 1.0, 0)}), Align.EPOCH)


@given(st.lists(st.floats(0.1, 9), min_size=2, max_size=6), st.floats(-50, 50))
def test_a_course_and_its_inverse_agree(steps: list[float], at: float) -> None:
    course = Course(np.arange(len(steps)) * 3.0, np.cumsum(steps))
    assert course.position(course.iteration(at)) == pytest.approx(at, rel=1e-6, abs=1e-6)


def test_what_only_one_has_is_listed_and_left_out(tmp_path: Path) -> None:
    one = record(tmp_path / "a", 1)
    two = record(tmp_path / "b", 2, layers=("conv1", "conv3", "fc"), scalars={"accuracy": np.ones(LENGTH)})
    compared = compare_runs([one, two])
    assert compared.unmatched == {"scalars": {"b": ["accuracy"]}, "layers": {"a": ["conv2"], "b": ["conv3"]}}
    assert compared.series("weight_mean", "layers")["layer"].values.tolist() == ["conv1", "fc"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = record(tmp_path / "a", 1)
    with pytest.raises(QueryError, match="two runs or more"):
        compare_runs([one])
    with pytest.raises(QueryError, match="iteration, epoch, samples"):
        compare_runs([one, one], align="time")
    RunWriter.create(tmp_path / "empty", Description(), [], [], []).close()
    with pytest.raises(QueryError, match="no iteration in common"):
        compare_runs([one, open_run(tmp_path / "empty")])


def test_the_command_says_it_in_words_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, changed in (("a1", False), ("a2", False), ("b", True)):
        record(tmp_path / name, len(name) + ord(name[-1]), changed=changed)
    arguments = ["compare", f"{tmp_path / 'a1'},{tmp_path / 'a2'}", str(tmp_path / "b")]
    assert main(arguments) == 0
    words = capsys.readouterr().out
    assert "gradient_l2 of conv2 (layers), b by +" in words
    assert "image-00 (cat): a1 right, b wrong" in words
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["groups"] == ["a1", "b"]
    assert facts["partings"][0]["entity"] == "conv2"
    assert main(["compare", str(tmp_path / "b")]) == 1
    assert "two runs" in capsys.readouterr().err
