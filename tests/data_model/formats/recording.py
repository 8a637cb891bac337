"""A small run with everything in it that a run can hold, and beside it the values that went in.

`python -m tests.data_model.formats.recording` records one with the code as it is, closed and interrupted, into an
archive named after the present format version. It is run once for each version, with the code that the version came
with: the archives then show that later code reads what earlier code wrote. An archive is never recorded again.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model import logs, manifest
from deeptracker.data_model.missing import recorded
from deeptracker.data_model.vocabulary import Description, Layer, Statistic
from deeptracker.data_model.writer import RunWriter

FOLDER = Path(__file__).parent
RUNS = ("closed", "interrupted")

SHARD = 16
STEPS, CUT, JOINED = 1100, 890, 400
LAYERS = [
    Layer("stage.0", "Conv2d", (2, 3, 1, 1), 2),
    Layer("stage.1", "Conv2d", (3, 2, 1, 1), 3),
    Layer("head", "Linear", (4, 3)),
]
LATE = Layer("late", "Conv2d", (2, 1, 1, 1), 2)
STATISTICS = [
    Statistic("first", "", "a first one", "made up", "weight"),
    Statistic("second", "nats", "a second one", group="update", logarithmic=True),
]
ACTIVE = [Statistic("active", "", "of outputs", group="activation")]
CLASSES = ("cat", "dog", "owl")
IMAGES = 9

Expected = dict[str, NDArray[Any]]


def wild(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Values with infinities, NaN that was recorded, and NaN where nothing was; of few digits, to take little room."""
    values = (np.round(16 * rng.normal(size=shape)) / 16).astype(np.float32)
    kind = rng.random(shape)
    values[kind < 0.01] = np.inf
    values[(kind > 0.01) & (kind < 0.02)] = np.nan
    values = np.asarray(recorded(values), np.float32)
    values[kind > 0.98] = np.nan
    return values


class Recording:
    """Records step by step, and keeps what it recorded."""

    def __init__(self, path: Path) -> None:
        self.path, self.rng = path, np.random.default_rng(1)
        description = Description("a fixture", "Net", CLASSES, (("lr", 0.1), ("batch", 32)), synthetic=True)
        self.writer = RunWriter.create(path, description, LAYERS, STATISTICS, STATISTICS[:1], ACTIVE)
        self.rows: dict[str, list[tuple[int, Any]]] = {
            name: [] for name in ("layers", "filters", "activations", "scalars", "validation", "snapshots")
        }
        self.pictures: dict[str, NDArray[np.uint8]] = {}

    def go(self, start: int, stop: int) -> None:
        """Record the steps [start, stop), a commit every 37 of them."""
        for step in range(start, stop):
            self.step(step)
            if step % 37 == 0:
                self.writer.commit()
        self.writer.commit()

    def step(self, step: int) -> None:
        """Record one step: layers always, and the rest when it is due."""
        if step == JOINED:
            self.writer.add_layers([LATE])
        at, layers = np.array([step]), self.writer.layers
        if step < 600 or step % 2 == 0:
            self.family("layers", self.writer.append_layers, step, 2, len(layers), 1 if step < 600 else 2)
        if step % 16 == 0:
            self.family("filters", self.writer.append_filters, step, 1, sum(layer.filters for layer in layers), 16)
        if step % 50 == 3:
            self.family("activations", self.writer.append_activations, step, 1, len(layers), 50)
        if not 700 <= step < 710:  # steps of which nothing was logged
            scalars = {"loss": float(self.rng.normal()), "learning rate": 0.1 * 0.5 ** (step // 300)}
            if step > 300:
                scalars["accuracy"] = np.inf if step == 555 else step / STEPS
            self.writer.append_scalars(at, {name: np.array([value]) for name, value in scalars.items()})
            self.rows["scalars"].append((step, scalars))
        if step % 100 == 7:
            self.validate(step)
        if step % 300 == 0:
            kept = [0, 1, 2] if step != 300 else [1]
            weights = [self.rng.normal(size=layers[number].shape).astype(np.float32) for number in kept]
            self.writer.append_snapshot(step, weights, kept)
            self.rows["snapshots"].append((step, dict(zip(kept, weights, strict=True))))

    def family(self, name: str, append: Any, step: int, statistics: int, entities: int, interval: int) -> None:
        """Record one record of a family."""
        values = wild(self.rng, 1, statistics, entities)
        append(np.array([step]), values, interval)
        self.rows[name].append((step, values[0]))

    def validate(self, step: int) -> None:
        """Validate the images: one more of them from step 500 on, one missing at times, one with another class."""
        names = [f"image {number}" for number in range(IMAGES + (step > 500)) if (number + step // 100) % 7]
        classes = np.array([int(name[6:]) % 3 for name in names], np.int32)
        classes[[step > 600 and name == "image 4" for name in names]] = 2
        predicted = self.rng.integers(0, 3, len(names)).astype(np.int32)
        probability = self.rng.random(len(names)).astype(np.float32)
        rank = np.where(predicted == classes, 0, 1).astype(np.int32)
        self.writer.append_validation(step, names, classes, predicted, probability, rank)
        results = zip(classes, predicted, probability, rank, strict=True)
        self.rows["validation"].append((step, dict(zip(names, results, strict=True))))
        new = [name for name in names if name not in self.pictures][:4]
        if new and step < 800:
            pictures = self.rng.integers(0, 256, (len(new), 4, 5, 3)).astype(np.uint8)
            self.writer.add_thumbnails(new, pictures)
            self.pictures.update(zip(new, pictures, strict=True))

    def cut(self) -> None:
        """Leave the run as a crash would, and go on from an earlier step."""
        self.writer.abandon()
        self.writer = RunWriter.resume(self.path, before=CUT)
        for name, rows in self.rows.items():
            inclusive = name in ("validation", "snapshots")
            self.rows[name] = [row for row in rows if row[0] < CUT + inclusive]

    def expected(self) -> Expected:
        """Return what was recorded: arrays that a file can hold, wide enough for what came late."""
        found: Expected = {}
        for name in ("layers", "filters", "activations"):
            rows = self.rows[name]
            wide = np.full((len(rows), *rows[-1][1].shape), np.nan, np.float32)
            for row, (_, values) in zip(wide, rows, strict=True):
                row[:, : values.shape[1]] = values
            found[name], found[f"{name} iteration"] = wide, np.array([step for step, _ in rows])
        for scalar in ("loss", "learning rate", "accuracy"):
            found[scalar] = np.array([row.get(scalar, np.nan) for _, row in self.rows["scalars"]])
        found["scalars iteration"] = np.array([step for step, _ in self.rows["scalars"]])
        names = sorted({name for _, row in self.rows["validation"] for name in row})
        blank = (-1, -1, np.nan, -1)
        for number, column in enumerate(("class", "predicted", "probability", "rank")):
            found[column] = np.array([[row.get(n, blank)[number] for n in names] for _, row in self.rows["validation"]])
        found["images"], found["pictured"] = np.array(names), np.array([name in self.pictures for name in names])
        found["thumbnails"] = np.array([self.pictures.get(name, np.zeros((4, 5, 3), np.uint8)) for name in names])
        found["validation iteration"] = np.array([step for step, _ in self.rows["validation"]])
        for number, (step, weights) in enumerate(self.rows["snapshots"]):
            found |= {f"snapshot {number} at {step} of layer {layer}": held for layer, held in weights.items()}
        return found


def record(path: Path, *, closed: bool) -> Expected:
    """Record the run at a path, close it or leave it as a crash would, and return what went in."""
    recording = Recording(path)
    recording.go(0, 960)
    recording.cut()
    recording.go(CUT, STEPS)
    if closed:
        recording.writer.close()
    else:
        recording.writer.abandon()
    return recording.expected()


def unpack(archive: Path, into: Path, kind: str) -> tuple[Path, Expected]:
    """Unpack a run of an archive; return its path, and what went in."""
    with tarfile.open(archive) as content:
        members = [member for member in content.getmembers() if member.name.split("/")[0].split(".")[0] == kind]
        content.extractall(into, members, filter="data")
    with np.load(into / f"{kind}.npz", allow_pickle=False) as values:
        return into / kind, {name: values[name] for name in values.files}


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main() -> int:
    """Record the archive of the present format version, unless there is one."""
    archive = FOLDER / f"version_{manifest.FORMAT_VERSION}.tar.xz"
    if archive.exists():
        print(f"{archive} is there, and stays as it is: it shows what that version wrote.")
        return 1
    logs.records_per_shard = lambda fields: SHARD
    with tempfile.TemporaryDirectory() as folder:
        for kind in RUNS:
            values = record(Path(folder, kind), closed=kind == "closed")
            np.savez(Path(folder, f"{kind}.npz"), allow_pickle=False, **values)
        with tarfile.open(archive, "w:xz", preset=9) as content:
            for entry in sorted(Path(folder).iterdir()):
                content.add(entry, entry.name, filter=_anonymous)
    print(f"{archive}: {archive.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
