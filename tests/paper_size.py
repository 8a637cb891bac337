"""A synthetic run of the paper's size, in which it is known what is unusual: `python -m tests.paper_size FOLDER`.

ResNet-50 as the paper trained it: 161 parameter tensors, the 26,560 filters of its convolutions, 1000 classes of 50
validation images. Every iteration has scalars and layers, every `filters_every`-th has filters; all of it is written by
the real writer, and the run says of itself that it is synthetic. The paper's had up to 1.2 million iterations:
`--iterations 1200000`. The same seed and iterations give the same run.

What is planted, at shares of the run's length, so that every length has it (`planted` tells the iterations):
the learning rate drops twice; the loss spikes once; one layer's gradients hold NaN for a while; another's explode;
filters of a layer die; filters of two layers jump whenever the images of a class flip; a class is forgotten for a
while; some images are never learned.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

PAPER_ITERATIONS, CLASSES, IMAGES = 1_200_000, 1000, 50
CHUNK = 1024
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
STATISTICS = (
    Statistic("weight_mean", "", "Mean of the weights", "", "weight"),
    Statistic("weight_std", "", "Standard deviation of the weights", "", "weight", True),
    Statistic("gradient_l2", "", "L2 norm of the gradient", "", "gradient", True),
    Statistic("gradient_nonfinite", "", "Number of NaN and Inf in the gradient", "", "gradient"),
    Statistic("relative_change_l2", "", "Change in one step, over the weights, in L2", "", "update", True),
)
MEAN, STD, GRADIENT, NONFINITE, CHANGE = range(len(STATISTICS))
DROPS, SPIKE, NAN, EXPLODING, DEATH, FORGOTTEN = (0.34, 0.67), 0.45, (0.2, 0.205), (0.8, 0.81), 0.6, (0.5, 0.56)
NAN_LAYER, EXPLODING_LAYER, DEAD_LAYER = "layer2.1.conv2", "layer3.4.conv3", "layer4.0.conv2"
DEAD_FILTERS, JUMPING, FORGOTTEN_CLASS, NEVER_LEARNED = 40, 6, 417, 25
LINKS = (("layer4.2.conv3", 207), ("layer3.0.conv1", 850))
"""(layer, class): filters of the layer jump when the class's images flip."""


@dataclass(frozen=True)
class Size:
    """How long a run is, how often filters and images are looked at, and the seed of its randomness."""

    iterations: int = 20_000
    filters_every: int = 16
    validations: int = 100
    seed: int = 1
    classes: int = CLASSES
    images: int = IMAGES

    def at(self, share: float) -> int:
        """Return the iteration at a share of the run."""
        return int(share * self.iterations)

    @property
    def validated(self) -> NDArray[np.int64]:
        """The iterations of the validations, the last of them the run's last."""
        count = min(self.validations, self.iterations)
        return np.unique(np.linspace(self.iterations / count, self.iterations, count).astype(np.int64) - 1)

    @property
    def shocks(self) -> NDArray[np.int64]:
        """The numbers of the validations at which the linked classes flip: irregular, with calm between them."""
        gaps = np.random.default_rng([self.seed, 77]).integers(6, 12, self.validations)
        places: NDArray[np.int64] = 8 + np.cumsum(gaps)
        return places[places < len(self.validated) - 4]


def resnet50() -> list[Layer]:
    """Return the 161 parameter tensors of ResNet-50 in network order; convolutions have filters."""
    layers: list[Layer] = []

    def convolution(name: str, norm: str, out: int, into: int, size: int) -> None:
        layers.append(Layer(name, "Conv2d", (out, into, size, size), out))
        layers.extend((Layer(norm, "BatchNorm2d", (out,)), Layer(f"{norm}.bias", "BatchNorm2d", (out,))))

    convolution("conv1", "bn1", 64, 3, 7)
    into = 64
    for stage, (width, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            place = f"layer{stage}.{block}"
            convolution(f"{place}.conv1", f"{place}.bn1", width, into, 1)
            convolution(f"{place}.conv2", f"{place}.bn2", width, width, 3)
            convolution(f"{place}.conv3", f"{place}.bn3", 4 * width, width, 1)
            if block == 0:
                convolution(f"{place}.downsample.0", f"{place}.downsample.1", 4 * width, into, 1)
            into = 4 * width
    layers.extend((Layer("fc", "Linear", (CLASSES, into)), Layer("fc.bias", "Linear", (CLASSES,))))
    return layers


def filters_of(layer: str) -> slice:
    """Return the numbers of a layer's filters, counted over the network."""
    first = 0
    for one in resnet50():
        if one.name == layer:
            return slice(first, first + one.filters)
        first += one.filters
    raise KeyError(layer)


def planted(size: Size) -> dict[str, Any]:
    """Return what is unusual in a run of this size: what a rule or a person should find, by name."""
    random = np.random.default_rng([size.seed, 5])
    dead = filters_of(DEAD_LAYER)
    found: dict[str, Any] = {
        "learning_rate_drops": [size.at(share) for share in DROPS],
        "loss_spike": size.at(SPIKE),
        "nan": {"layer": NAN_LAYER, "span": [size.at(NAN[0]), size.at(NAN[1])]},
        "exploding": {"layer": EXPLODING_LAYER, "span": [size.at(EXPLODING[0]), size.at(EXPLODING[1])]},
        "dead_filters": {
            "layer": DEAD_LAYER,
            "from": size.at(DEATH),
            "filters": sorted(random.choice(range(dead.start, dead.stop), DEAD_FILTERS, replace=False).tolist()),
        },
        "forgotten_class": {
            "class": FORGOTTEN_CLASS % size.classes,
            "span": [size.at(FORGOTTEN[0]), size.at(FORGOTTEN[1])],
        },
        "never_learned": sorted(
            random.choice(size.classes * size.images, min(NEVER_LEARNED, size.images), replace=False).tolist()
        ),
        "links": [],
    }
    for layer, class_ in LINKS:
        place = filters_of(layer)
        filters = sorted(random.choice(range(place.start, place.stop), JUMPING, replace=False).tolist())
        at = [int(size.validated[number]) for number in size.shocks]
        found["links"].append({"layer": layer, "class": class_ % size.classes, "filters": filters, "validations": at})
    return found


def scalars(size: Size, iterations: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return loss, error and learning rate of some iterations."""
    random = np.random.default_rng([size.seed, 1, int(iterations[0])])
    passed = iterations / size.iterations
    first, second = (iterations >= size.at(share) for share in DROPS)
    rate = 0.1 ** (1.0 + first + second)
    level = 6.9 * np.exp(-8 * passed) + np.select([~first, ~second], [2.2, 1.3], 1.0)
    loss = level * np.exp(0.06 * random.normal(size=len(iterations)))
    loss[iterations == size.at(SPIKE)] *= 8
    return {"loss": loss, "error": np.clip(loss / 7.5, 0, 1), "learning_rate": rate}


def layer_values(size: Size, layers: list[Layer], iterations: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the layers' statistics of some iterations, (iteration, statistic, layer)."""
    random = np.random.default_rng([size.seed, 2, int(iterations[0])])
    own = np.random.default_rng([size.seed, 3]).normal(size=(2, len(layers))).astype(np.float32)
    rate = scalars(size, iterations)["learning_rate"].astype(np.float32)[:, None]
    noise = random.standard_normal((len(iterations), 2, len(layers)), dtype=np.float32)
    passed = (iterations / size.iterations).astype(np.float32)[:, None]
    values = np.zeros((len(iterations), len(STATISTICS), len(layers)), np.float32)
    values[:, MEAN] = 0.01 * own[0] * (1 - np.exp(-5 * passed))
    values[:, STD] = 0.05 * np.exp(0.3 * own[1]) * (1 + 0.4 * np.exp(-6 * passed))
    values[:, GRADIENT] = np.exp(-2 + 0.5 * own[0] + 0.25 * noise[:, 0] - passed)
    values[:, CHANGE] = rate * np.exp(-2.5 + 0.4 * own[1] + 0.15 * noise[:, 1])
    names, truth = [layer.name for layer in layers], planted(size)
    for kind, statistic, change in (("nan", NONFINITE, 64.0), ("exploding", GRADIENT, 500.0)):
        first, stop = truth[kind]["span"]
        inside = (iterations >= first) & (iterations < max(stop, first + 1))
        column = names.index(truth[kind]["layer"])
        values[inside, statistic, column] = change * (1 if kind == "nan" else values[inside, statistic, column])
        if kind == "nan":
            values[inside, GRADIENT, column] = np.nan
    return values


def filter_values(size: Size, iterations: NDArray[np.int64], filters: int) -> NDArray[np.float32]:
    """Return the filters' relative changes at some iterations, (iteration, 1, filter)."""
    random = np.random.default_rng([size.seed, 4, int(iterations[0])])
    rate = scalars(size, iterations)["learning_rate"].astype(np.float32)[:, None]
    own = np.random.default_rng([size.seed, 6]).standard_normal(filters, dtype=np.float32)
    noise = random.standard_normal((len(iterations), filters), dtype=np.float32)
    change = rate * np.exp(-2.5 + 0.4 * own + 0.2 * noise)
    truth = planted(size)
    dead = truth["dead_filters"]
    change[np.ix_(iterations >= dead["from"], dead["filters"])] = 0
    for link in truth["links"]:
        # They jump at the last record before the validation that shows it.
        when = np.array(link["validations"], np.int64) // size.filters_every * size.filters_every
        change[np.ix_(np.isin(iterations, when), link["filters"])] *= 40
    return change[:, None]


def validations(size: Size) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Yield of each validation its iteration, and of every image the class it was taken for and p(true class)."""
    random, truth = np.random.default_rng([size.seed, 8]), planted(size)
    true = np.repeat(np.arange(size.classes, dtype=np.int32), size.images)
    hard = random.beta(1.4, 2.0, len(true)).astype(np.float32)  # how late an image is learned, if at all
    never = truth["never_learned"]
    flipped = {link["class"]: np.zeros(size.images, bool) for link in truth["links"]}
    forgotten = truth["forgotten_class"]
    for number, iteration in enumerate(size.validated):
        passed = float(iteration) / size.iterations
        skill = 0.48 * (1 - np.exp(-5 * passed)) + sum(0.07 * (iteration >= size.at(share)) for share in DROPS)
        logit = 9 * (skill - hard) + 0.5 * random.standard_normal(len(true), dtype=np.float32)
        logit[never] = -6
        if forgotten["span"][0] <= iteration < forgotten["span"][1]:
            logit[true == forgotten["class"]] = -4
        for link in truth["links"]:
            # These classes are calm but for the shocks, at which every other image changes sides.
            if int(iteration) in link["validations"]:
                flipped[link["class"]][number % 2 :: 2] ^= True
            logit[true == link["class"]] = np.where(flipped[link["class"]], -3, 3)
        probability = (1 / (1 + np.exp(-logit))).astype(np.float32)
        other = (true + 1 + (np.arange(len(true)) * 7 + number) % max(1, size.classes - 1)) % size.classes
        yield int(iteration), np.where(probability > 0.5, true, other).astype(np.int32), probability


def write_paper_size(path: Path, size: Size | None = None) -> RunWriter:
    """Record a run of the paper's size, and leave it open; `close` it to finish it."""
    size, layers = size or Size(), resnet50()
    names = tuple(f"class {number:03d}" for number in range(size.classes))
    parameters = (("iterations", size.iterations), ("seed", size.seed), ("filters every", size.filters_every))
    description = Description("ResNet-50 at the paper's size", "ResNet-50", names, parameters, synthetic=True)
    writer = RunWriter.create(path, description, layers, STATISTICS, STATISTICS[CHANGE:])
    filters = sum(layer.filters for layer in layers)
    true = np.repeat(np.arange(size.classes, dtype=np.int32), size.images)
    ids = [f"{class_:03d}/{number:02d}" for class_ in range(size.classes) for number in range(size.images)]
    waiting, due = validations(size), size.validated.tolist()
    for first in range(0, size.iterations, CHUNK):
        iterations = np.arange(first, min(first + CHUNK, size.iterations))
        writer.append_scalars(iterations, scalars(size, iterations))
        writer.append_layers(iterations, layer_values(size, layers, iterations), 1)
        some = iterations[iterations % size.filters_every == 0]
        if len(some):
            writer.append_filters(some, filter_values(size, some, filters), size.filters_every)
        while due and due[0] <= iterations[-1]:
            iteration, predicted, probability = next(waiting)
            rank = np.where(predicted == true, 0, 1).astype(np.int32)
            writer.append_validation(iteration, ids, true, predicted, probability, rank)
            due.pop(0)
        writer.commit()
    return writer


def main() -> None:
    """Write a run, and print what was planted as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.paper_size", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the run is written; it must not exist yet")
    parser.add_argument("--iterations", type=int, default=Size.iterations, help=f"paper: {PAPER_ITERATIONS:,}")
    parser.add_argument("--filters-every", type=int, default=Size.filters_every)
    parser.add_argument("--validations", type=int, default=Size.validations)
    parser.add_argument("--seed", type=int, default=Size.seed)
    given = parser.parse_args()
    size = Size(given.iterations, given.filters_every, given.validations, given.seed)
    write_paper_size(given.folder, size).close()
    print(json.dumps(planted(size)))


if __name__ == "__main__":
    main()
