"""Thumbnails of tensors, arrays, pictures and files: what they look like, and what becomes of the bad ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from deeptracker import Recorder, open_run
from deeptracker.tracker import thumbnails
from deeptracker.tracker.thumbnails import Thumbnails, thumbnail, thumbnail_size
from tests.tracker.networks import small, train


def recorder_of(tmp_path, **options):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recorder(tmp_path / "run", model, optimizer, **options), model, optimizer


def log(recorder, ids, images):
    with recorder.validation() as validation:
        validation.log(ids, logits=torch.zeros(len(ids), 3), targets=[0] * len(ids), images=images)


def pictures_of(tmp_path):
    run = open_run(tmp_path / "run")
    return {name: run.thumbnail(number) for number, name in enumerate(run.images.id.values)}


def test_they_are_kept_once_and_look_like_the_images(tmp_path):
    recorder, model, optimizer = recorder_of(tmp_path)
    images = torch.linspace(0, 1, 2 * 8 * 8).reshape(2, 1, 8, 8)
    with recorder:
        for scale in (1.0, 0.0):
            log(recorder, ["x", "y"], scale * images)
            train(model, optimizer, 1)
    for number, name in enumerate("xy"):
        expected = np.rint(255 * images[number, 0].numpy())
        for channel in range(3):
            np.testing.assert_allclose(pictures_of(tmp_path)[name][:, :, channel], expected, atol=0.5)


def test_any_input_fits_in_64_pixels():
    assert thumbnail_size(224, 224) == (64, 64)
    assert thumbnail_size(100, 400) == (16, 64)
    assert thumbnail_size(8, 8) == (8, 8)
    normalised = thumbnail(torch.randn(3, 128, 96), (64, 48))
    assert (normalised.shape, normalised.dtype) == ((64, 48, 3), np.uint8)
    assert normalised.std() > 10
    assert (thumbnail(torch.full((1, 64, 48), 7, dtype=torch.uint8), (64, 48)) == 7).all()


def test_an_image_of_another_shape_keeps_its_proportions():
    wide = thumbnail(torch.full((3, 10, 40), 200, dtype=torch.uint8), (32, 32))
    assert (wide[12:20] == 200).all()
    assert not wide[:12].any()
    assert not wide[20:].any()


def test_the_same_picture_from_everything_that_holds_one(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    first = torch.from_numpy(pixels).permute(2, 0, 1)
    with_alpha = np.concatenate([pixels, np.full((12, 10, 1), 9, np.uint8)], axis=2)
    given = {
        "tensor": first,
        "floats": first / 255,
        "last": torch.from_numpy(pixels),
        "array": pixels,
        "array first": first.numpy(),
        "alpha": with_alpha,
        "PIL": Image.fromarray(pixels),
        "path": tmp_path / "picture.png",
        "text": str(tmp_path / "picture.png"),
    }
    made = Thumbnails().make(list(given), list(given.values()))
    assert list(made) == list(given)
    for name, picture in made.items():
        np.testing.assert_array_equal(picture, pixels, err_msg=name)
    assert Thumbnails().make(["a", "b"], np.stack([pixels, pixels]))["b"].tolist() == pixels.tolist()
    grey = Thumbnails().make(["a"], pixels[None, :, :, 0])["a"]
    assert (grey == pixels[:, :, :1]).all()


def test_files_that_cannot_be_read_are_noted_and_never_fatal(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "good.png")
    names = ["torn.png", "text.jpg", "absent.png", "good.png"]
    recorder, model, optimizer = recorder_of(tmp_path)
    with recorder:
        with pytest.warns(RuntimeWarning, match=r"No thumbnail of image 'torn.png'") as caught:
            log(recorder, names, [tmp_path / name for name in names])
        train(model, optimizer, 1)
        log(recorder, names, [tmp_path / name for name in names])
    assert len(caught) == 1
    pictures = pictures_of(tmp_path)
    assert [name for name in names if pictures[name] is not None] == ["good.png"]
    run = open_run(tmp_path / "run")
    assert [note["images"] for note in run.notes if note["key"] == "thumbnails not readable"] == [3]
    assert run.remarks == ["the pictures of 3 images could not be read"]


def test_what_does_not_fit_the_budget_is_left_out_and_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST_BYTES", 3 * 8 * 8 * 3)
    recorder, model, optimizer = recorder_of(tmp_path)
    with recorder:
        for batch in ([0, 1], [2, 3, 4]):
            log(recorder, batch, torch.zeros(len(batch), 8, 8))
            train(model, optimizer, 1)
        log(recorder, [2, 3, 4], torch.zeros(3, 8, 8))
    with Recorder(tmp_path / "run", model, optimizer, resume=True) as recorder:
        train(model, optimizer, 1)
        log(recorder, [0, 5], torch.ones(2, 8, 8))
    run = open_run(tmp_path / "run")
    assert sum(run.thumbnail(image) is not None for image in range(6)) == 3
    assert run.thumbnail(0).max() == 0
    assert [note["images"] for note in run.notes if note["key"] == "no room for thumbnails"] == [2, 1]


def test_a_validation_that_fails_keeps_no_picture_and_the_next_one_does(tmp_path):
    recorder, _, _ = recorder_of(tmp_path)
    with recorder:
        failing = recorder.validation()
        failing.log(["x"], logits=torch.zeros(1, 3), targets=[0], images=torch.ones(1, 8, 8))
        failing.__exit__(KeyError, KeyError(), None)
        log(recorder, ["x"], torch.ones(1, 8, 8))
    assert (pictures_of(tmp_path)["x"] == 255).all()


def test_the_images_themselves_are_not_kept_until_the_end(tmp_path):
    recorder, _, _ = recorder_of(tmp_path)
    with recorder, recorder.validation() as validation:
        image = torch.rand(1, 3, 256, 256)
        validation.log(["x"], logits=torch.zeros(1, 3), targets=[0], images=image)
        assert sum(picture.nbytes for picture in validation._pictures.values()) == 64 * 64 * 3
