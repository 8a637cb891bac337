"""Ordering by anomalies counts what was found in a layer's filters and in a class's images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeptracker.app.anomaly_counts import counts_by_class, counts_by_layer
from deeptracker.data_model.anomaly import Anomaly, filter_name, to_frame
from deeptracker.data_model.run import open_run
from deeptracker.data_model.vocabulary import Description, Layer
from deeptracker.data_model.writer import RunWriter


def test_filters_count_for_their_layer_and_images_for_their_class(tmp_path: Path) -> None:
    layers = [Layer("a.conv", "Conv2d", (2, 1), 2), Layer("b.conv", "Conv2d", (2, 1), 2)]
    writer = RunWriter.create(tmp_path / "run", Description(classes=("cat", "dog")), layers, [], [])
    zeros = np.zeros(2, np.int32)
    writer.append_validation(1, ["x", "y"], np.array([0, 1], np.int32), zeros, zeros.astype(np.float32), zeros)
    writer.close()
    run = open_run(tmp_path / "run")
    found = [
        Anomaly("rule", "filter", filter_name("b.conv", 1), 3, 0, 1, 1.0, ""),
        Anomaly("rule", "layer", "b.conv", 1, 0, 1, 1.0, ""),
        Anomaly("rule", "image", "y", 1, 0, 1, 1.0, ""),
    ]
    assert counts_by_layer(run, to_frame(found)) == [0, 2]
    assert counts_by_class(run, to_frame(found)) == [0, 1]
    assert counts_by_class(run, to_frame([])) == [0, 0]
