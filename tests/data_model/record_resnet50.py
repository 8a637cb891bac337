"""Record what a ResNet-50 gives with every statistic of every layer and filter, and print the memory that it takes.

Run: python tests/data_model/record_resnet50.py FOLDER RECORDS. Prints, as JSON, by how many megabytes the peak of the
process's memory rose over what it held before, and the microseconds of CPU that a record took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter
from tests.peak import forget_peak, peak

LAYER_STATISTICS, FILTER_STATISTICS, FLUSHED = 32, 5, 12


def resnet50() -> list[Layer]:
    """Return the layers of a ResNet-50 for 1000 classes, biases too: 161, with 26,560 filters of its convolutions."""
    layers = [*_convolution("conv1", 64, 3, 7)]
    inputs = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            layers += _convolution(f"{name}.conv1", width, inputs, 1)
            layers += _convolution(f"{name}.conv2", width, width, 3)
            layers += _convolution(f"{name}.conv3", 4 * width, width, 1)
            if not block:
                layers += _convolution(f"{name}.downsample", 4 * width, inputs, 1)
            inputs = 4 * width
    return [*layers, Layer("fc", "Linear", (1000, 2048), 1000), Layer("fc.bias", "Linear.bias", (1000,))]


def _convolution(name: str, outputs: int, inputs: int, size: int) -> Iterator[Layer]:
    yield Layer(name, "Conv2d", (outputs, inputs, size, size), outputs)
    yield Layer(f"{name}.norm", "BatchNorm2d", (outputs,))
    yield Layer(f"{name}.norm.bias", "BatchNorm2d.bias", (outputs,))


def record(path: Path, layers: list[Layer], records: int) -> None:
    """Record every statistic of all layers and filters at every iteration, and commit now and then."""
    statistics = [Statistic(f"statistic{number}") for number in range(LAYER_STATISTICS)]
    writer = RunWriter.create(path, Description(), layers, statistics, statistics[:FILTER_STATISTICS])
    rng = np.random.default_rng(0)
    filters = sum(layer.filters for layer in layers)
    of_layers = rng.normal(size=(1, LAYER_STATISTICS, len(layers))).astype(np.float32)
    of_filters = rng.normal(size=(1, FILTER_STATISTICS, filters)).astype(np.float32)
    for number in range(records):
        at = np.array([number])
        writer.append_scalars(at, {"loss": rng.normal(size=1)})
        writer.append_layers(at, of_layers)
        writer.append_filters(at, of_filters)
        if number % FLUSHED == FLUSHED - 1:
            writer.commit()
    writer.close()


def main() -> None:
    folder, records = Path(sys.argv[1]), int(sys.argv[2])
    # What code takes is there before, and does not grow with the network.
    record(folder / "small", [Layer("one", "Conv2d", (4, 3, 3, 3), 4)], 1200)
    layers = resnet50()
    assert (len(layers), sum(layer.filters for layer in layers if layer.kind == "Conv2d")) == (161, 26_560)
    forget_peak()
    before, start = peak(), time.process_time()
    record(folder / "resnet50", layers, records)
    microseconds = (time.process_time() - start) / records * 1e6
    print(json.dumps({"rise": peak() - before, "microseconds": microseconds}))


if __name__ == "__main__":
    main()
