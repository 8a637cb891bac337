"""Error, loss and probability per class, against the definition applied class by class."""

from __future__ import annotations

import numpy as np

from deeptracker.data_model.validation_results import ValidationResults, class_series

CLASSES = 4


def test_class_series_follow_their_definition() -> None:
    rng = np.random.default_rng(0)
    validations, images = 6, 50
    image_class = rng.integers(0, CLASSES - 1, images).astype(np.int32)  # the last class has no image
    predicted = rng.integers(-1, CLASSES, (validations, images)).astype(np.int32)
    probability = rng.random((validations, images), np.float32)
    probability[predicted < 0] = np.nan
    probability[0, 0], predicted[0, 0] = 0, 1
    rank = np.where(predicted < 0, -1, predicted != image_class).astype(np.int32)
    results = ValidationResults(np.arange(validations), np.arange(images), image_class, predicted, probability, rank)
    found = class_series(results, CLASSES)
    assert found.shape == (validations, 3, CLASSES + 1)
    for validation in range(validations):
        for number in range(CLASSES + 1):
            member = (image_class == number) if number < CLASSES else np.ones(images, bool)
            member &= predicted[validation] >= 0
            if not member.any():
                assert np.isnan(found[validation, :, number]).all()
                continue
            chosen = np.maximum(probability[validation, member].astype(np.float64), 1e-12)
            expected = [
                np.mean(predicted[validation, member] != image_class[member]),
                np.mean(-np.log(chosen)),
                np.mean(probability[validation, member]),
            ]
            np.testing.assert_allclose(found[validation, :, number], expected, rtol=1e-5)
