"""How many anomalies each layer or class has, what was found in its filters or images counted in."""

from __future__ import annotations

import pandas as pd

from deeptracker.data_model.run import Run


def counts_by_layer(run: Run, anomalies: pd.DataFrame) -> list[float]:
    """Return one count per layer, in network order: its own anomalies and those of its filters."""
    layer_of_filter = anomalies.loc[anomalies["kind"] == "filter", "entity"].str.rpartition("[")[0]
    own = anomalies.loc[anomalies["kind"] == "layer", "entity"]
    counts = pd.concat([own, layer_of_filter]).value_counts()
    return [float(counts.get(layer.name, 0)) for layer in run.layer_list]


def counts_by_class(run: Run, anomalies: pd.DataFrame) -> list[float]:
    """Return one count per class, by number: its own anomalies and those of its images."""
    names, images = run.class_names, run.images
    class_of = dict(zip(images["id"].values, (names[number] for number in images["class"].values), strict=True))
    of_images = anomalies.loc[anomalies["kind"] == "image", "entity"].map(class_of)
    own = anomalies.loc[anomalies["kind"] == "class", "entity"]
    counts = pd.concat([own, of_images]).value_counts()
    return [float(counts.get(name, 0)) for name in names]
