"""A recorded run, opened for reading: what every view, rule and notebook builds on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd
import param
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model import run_data
from deeptracker.data_model.blocks import Blocks, block_names
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.contents import Contents, contents
from deeptracker.data_model.errors import DeepTrackerError, QueryError, RunReplacedError
from deeptracker.data_model.flip_counts import FlipCounts
from deeptracker.data_model.holder import read_holder
from deeptracker.data_model.images import Images
from deeptracker.data_model.remarks import remarks
from deeptracker.data_model.root import ROOT, read_root
from deeptracker.data_model.series import SeriesReader
from deeptracker.data_model.state_query import image_states
from deeptracker.data_model.storage import Place, Storage, open_storage
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import ACTIVATIONS, LAYERS, SCALARS, Description, Layer, Statistic

if TYPE_CHECKING:
    from deeptracker.data_model.cube import EventCube

if TYPE_CHECKING:
    from deeptracker.data_model.episodes import Episode
    from deeptracker.data_model.export.choice import Choice, Chosen
    from deeptracker.data_model.export.exporting import Progress
    from deeptracker.data_model.export.source import Source

_SILENCE = 120.0
"""Seconds after which a writer on another host, which nobody here can ask, counts as gone."""


_TRIES = 5

VIEWERS = "deeptracker.viewers"


class Run(param.Parameterized):
    """A run as of its newest commit read; `refresh` follows a run that is being recorded.

    Watch `version`: it counts the refreshes that brought something new. Nothing is ever written by reading.
    """

    version = param.Integer(default=0, bounds=(0, None), doc="Counts the refreshes that brought something new.")

    def __init__(self, place: Place) -> None:
        """Open the run at a path, a URL or a storage; see `open_run`."""
        self.storage = open_storage(place)
        commit, images = _newest(self.storage)
        super().__init__(name=commit.manifest.description.name or self.storage.name)
        self._read(commit, images)

    def _read(self, commit: Commit, images: Images) -> None:
        self._commit, self._images, self._series = commit, images, SeriesReader(commit, images)

    def refresh(self) -> bool:
        """Read the newest commit; return whether there was something new.

        Raises NotARunError where the run is gone, and RunReplacedError where another one was recorded in its place.
        """
        if self.storage.stamp(ROOT) == self._commit.stamp:
            return False
        self._read(*_newest(self.storage, self._commit, self._images))
        self.version += 1
        return True

    @property
    def path(self) -> Path | None:
        """The run's folder, as it was given; None for a run that does not lie on a file system of this machine."""
        return self.storage.local

    @property
    def url(self) -> str:
        """What opens the run again, from any working folder: `file://` and its folder, or where else it lies."""
        return self.storage.url

    @property
    def description(self) -> Description:
        """What the run says about itself."""
        return self._commit.manifest.description

    @property
    def state(self) -> str:
        """`closed`, `recording`, or `interrupted` when its recorder is gone without having closed it."""
        manifest = self._commit.manifest
        if manifest.state == "closed":
            return "closed"
        holder = read_holder(self.storage)
        alive = holder.alive() if holder else False
        if alive is None:
            alive = pd.Timestamp.now().timestamp() - manifest.committed_at < _SILENCE
        return "recording" if alive else "interrupted"

    @property
    def committed_at(self) -> float:
        """When the newest commit read was made, seconds since 1970."""
        return self._commit.manifest.committed_at

    @property
    def format_version(self) -> int:
        """The version of the format that the run was recorded in."""
        return self._commit.manifest.version

    def contents(self) -> dict[str, Contents]:
        """Return what there is of each family: records, levels of the index, statistics and bytes."""
        return contents(self._commit.manifest, self.storage)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The recorder's own log: changed intervals, waits for the disk, resumes; oldest first."""
        return self._commit.manifest.notes

    @property
    def remarks(self) -> list[str]:
        """What was odd about the recording, a line each: cuts, gaps, waits, missing or repeated images."""
        return remarks(self.notes)

    @property
    def iterations(self) -> tuple[int, int]:
        """The iterations [first, stop) that anything was recorded for; (0, 0) when nothing was."""
        axes = [entry.axis for entry in self._commit.manifest.logs.values() if entry.records]
        if not axes:
            return (0, 0)
        return (min(int(axis.iterations(0, 1)[0]) for axis in axes), max(axis.stop for axis in axes))

    @property
    def steps(self) -> int:
        """How many iterations were trained: a validation or a snapshot after the last one adds none."""
        trained = self._commit.manifest.logs.get(SCALARS)
        if trained is None or not trained.records:
            return self.iterations[1] - self.iterations[0]
        return trained.axis.stop - self.iterations[0]

    @property
    def layer_list(self) -> list[Layer]:
        """The layers in network order."""
        return self._commit.manifest.layers

    @property
    def blocks(self) -> list[str]:
        """The network's blocks, as `query` takes them: each before what it holds, the whole network (`""`) first."""
        return block_names(self.layer_list)

    @property
    def layer_statistics(self) -> list[Statistic]:
        """The statistics recorded of every layer."""
        return self._commit.manifest.layer_statistics

    @property
    def filter_statistics(self) -> list[Statistic]:
        """The statistics recorded of every filter."""
        return self._commit.manifest.filter_statistics

    @property
    def activation_statistics(self) -> list[Statistic]:
        """The statistics recorded of the outputs of the layers that were chosen for it; empty when none were."""
        return self._commit.manifest.activation_statistics

    @property
    def scalar_names(self) -> list[str]:
        """The scalars logged so far."""
        return self._commit.manifest.scalars

    @property
    def class_names(self) -> list[str]:
        """The classes, by number; named by their number where the recorder was given no names."""
        return self._images.class_names

    @property
    def filter_layer(self) -> NDArray[np.int32]:
        """The layer number of each filter, (filters,) int32."""
        counts = [layer.filters for layer in self.layer_list]
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def filter_slice(self, layer: str) -> slice:
        """Return the numbers of a layer's filters."""
        counts = [one.filters for one in self.layer_list]
        number = self._series.layer_number(layer)
        start = sum(counts[:number])
        return slice(start, start + counts[number])

    @property
    def scalars(self) -> xr.Dataset:
        """One lazy float64 variable per scalar, over `iteration`."""
        return run_data.scalars(self._commit)

    @property
    def layers(self) -> xr.Dataset:
        """One lazy float32 variable per statistic, over (`iteration`, `layer`)."""
        return run_data.layers(self._commit)

    @property
    def activations(self) -> xr.Dataset:
        """One lazy float32 variable per statistic of the layers' outputs, over (`iteration`, `layer`)."""
        return run_data.layers(self._commit, ACTIVATIONS)

    @property
    def filters(self) -> xr.Dataset:
        """One lazy float32 variable per statistic, over (`iteration`, `filter`)."""
        return run_data.filters(self._commit)

    @property
    def validation(self) -> xr.Dataset:
        """Lazy `predicted`, `probability` and `rank` over (`validation`, `image`)."""
        return run_data.validation(self._commit, self._images)

    @property
    def classes(self) -> xr.Dataset:
        """`error`, `loss` and `probability` over (`iteration`, `class`), derived from the validations."""
        return run_data.classes(self._commit, self._images)

    @property
    def images(self) -> xr.Dataset:
        """Id and class of every validation image, over `image`."""
        return xr.Dataset({"class": ("image", self._images.image_class)}, coords={"id": ("image", self._images.ids)})

    @property
    def relabelled(self) -> pd.DataFrame:
        """The images whose class has changed: `image`, `iteration` of the validation, class `before` and `after`."""
        return self._images.relabelled()

    @property
    def snapshot_iterations(self) -> NDArray[np.int64]:
        """The iterations at which weights were kept, (snapshots,) int64."""
        return run_data.snapshot_iterations(self._commit)

    def snapshots_of(self, layer: str) -> NDArray[np.int64]:
        """Return the numbers of the snapshots that hold a layer's weights."""
        return run_data.snapshots_of(self._commit, self._series.layer_number(layer))

    def kernels(self, layer: str, snapshot: int) -> NDArray[np.float32]:
        """Return a layer's weights at a snapshot, in the layer's own shape; QueryError where it was not kept."""
        return run_data.kernels(self._commit, self._series.layer_number(layer), snapshot)

    def query(
        self,
        variable: str,
        *,
        family: str | None = None,
        iterations: tuple[int, int] | None = None,
        buckets: int = 1500,
        layers: Sequence[str | int] | None = None,
        filters: Sequence[int] | slice | None = None,
        classes: Sequence[str | int] | None = None,
        blocks: Blocks | None = None,
    ) -> xr.Dataset:
        """Return min, max, mean, count and nonfinite of a variable in at least `buckets` buckets of a window.

        `family` is `scalars`, `layers`, `filters`, `activations`, `classes` or `validation` (all images together);
        without it, the entities named decide, or else the first family in this order that has the variable. Statistics
        of activations are found among those of `layers` too. The result is over
        (`bucket`, `layer` | `filter` | `class`), for a scalar over (`bucket`,), with the iterations `start` and
        `stop` of each bucket. Exact: equal to reducing the records of those iterations. Raises QueryError.

        `blocks` (`["layer3", "layer3.2", ""]`; `""` is the whole network) asks for the envelope of all layers, or with
        `family="filters"` of all filters, below each of these modules, over (`bucket`, `block`); the mean is that of
        all values. A mapping gives groups of one's own, of names and numbers: `{"early": ["conv1", "layer1"]}`.
        """
        given = {"layers": layers, "filters": filters, "classes": classes}
        named = [name for name, value in given.items() if value is not None]
        entities = LAYERS if family == ACTIVATIONS else family
        if len(named) > 1 or (entities and named and named != [entities]):
            raise QueryError(
                f"A query is over one family; {' and '.join([*named, *([family] if family else [])])} were given."
            )
        if named and blocks is not None:
            raise QueryError(f"A query is over {named[0]} or over blocks; both were given.")
        family = family or (named[0] if named else self._series.family_of(variable))
        chosen = given.get(named[0]) if named else None
        return self._series.query(variable, family, iterations or self.iterations, buckets, chosen, blocks)

    def dataset(self, family: str, **chosen: Unpack[Chosen]) -> xr.Dataset:
        """Return a part of the run as a lazy Dataset: what `export` writes of a family.

        `family` is `scalars`, `layers`, `activations`, `filters`, `classes`, `validation`, `images` or `snapshots`.
        Keywords choose of it: `statistics`, `layers`, `filters` (numbers), `classes` and `images` (names), and
        `iterations` (start, stop), each None where open: records at these iterations. With `buckets` it is what `query`
        returns for all statistics, over (`bucket`, `statistic` or `scalar`, entity); then `blocks` too. Of images
        it is then what `image_states` counts, in `rows`. Raises QueryError for what there is not.
        """
        from deeptracker.data_model.export.choice import Choice

        return self._source(Choice(family, **chosen)).dataset

    def export(
        self,
        target: str | Path,
        family: str | Sequence[str] | None = None,
        *,
        format: str | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        **chosen: Unpack[Chosen],
    ) -> Path:
        """Write the run, or the part of it that `dataset` would return, for other programs; return the path.

        `format` is `parquet`, `csv`, `netcdf` or `zarr`; without it the name of the target says it. One family becomes
        one file (of zarr a folder); several, or all that hold something where none is named, become a folder of tables
        or a tree with a group each. In tables there is a row per record and entity; what was not recorded is null, a
        NaN that was recorded is NaN. Memory is bounded, and what fails or is interrupted leaves nothing behind. An
        existing target is refused unless `overwrite`. `progress` is told the bytes read, and all there are.

        Raises ExportError for what cannot be written, and QueryError for what there is not.
        """
        from deeptracker.data_model.export.exporting import export, format_of
        from deeptracker.data_model.export.of_run import about, choices

        kind = format_of(target, format)
        wanted = choices(self._commit, [family] if isinstance(family, str) else family, chosen)
        sources = [self._source(choice) for choice in wanted]
        facts = about(self._commit, self.iterations)
        alone = isinstance(family, str) or (family is not None and len(family) == 1)
        return export(sources, target, kind, facts, self.storage, alone=alone, overwrite=overwrite, progress=progress)

    def _source(self, choice: Choice) -> Source:
        from deeptracker.data_model.export.of_run import source_of

        return source_of(self._commit, self._images, self._series, choice, self.iterations)

    def image_states(
        self,
        images: tuple[int, int] | Sequence[int] | Sequence[Sequence[int]] | None = None,
        *,
        iterations: tuple[int, int] | None = None,
        rows: int = 600,
        buckets: int = 1500,
    ) -> xr.Dataset:
        """Count the states of images in blocks of images and validations: `count` over (`row`, `bucket`, `state`).

        `images` is a range (first, stop) of image numbers, cut into equal blocks aligned to their size: at least
        `rows` where there are as many images, fewer than twice as many (and one at either end). Or a list of numbers
        in any order, of which each row takes as many as make `rows`, side by side; or a list of such lists, one for
        each row. None: all. Images of the first validation are numbered class by class, later ones as they came.

        `iterations` [start, stop) chooses the validations that stand for any of them; they too come in equal blocks,
        at least `buckets` where there are as many. All blocks are snapped outward and exact, also live: `count` is
        int32 (int64 where needed), and for every block `right + wrong + missing` is `images` of the row times
        `validations` of the bucket; `learned` ones (changed to right since the image's previous answer) are among the
        right, `forgotten` ones among the wrong. `start` and `stop` are a bucket's iterations, `first_validation` its
        first validation; of a range, `first_image` is a row's first image.

        What is read follows from the number of blocks, not from the run. A range is read from counts kept in both
        directions; single images in any order from counts along the validations, and from codes where there are few
        validations a bucket; side by side in one row, they are read as a range is. QueryError for what there is not.
        """
        source = self._images.states()
        return image_states(source, self._images.axis, len(self._images.ids), images, iterations, rows, buckets)

    def validation_results(self, images: Sequence[int] | slice | None = None) -> ValidationResults:
        """Return all validations' results, of all images or of those with the numbers given, as numpy arrays."""
        return self._images.results(images)

    def result_portions(
        self, images: Sequence[int] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], ValidationResults]]:
        """Yield numbers of images and their results at all validations, in portions of bounded memory."""
        return self._images.portions(None if images is None else np.asarray(images, np.int64))

    def flip_counts(self) -> FlipCounts:
        """Return how many images of each class flipped at each validation; a refresh adds what is new only."""
        return self._images.flip_counts()

    def image_insight(
        self,
        rank: str | None = None,
        *,
        most: int | None = None,
        images: Sequence[int] | None = None,
        stable: int | None = None,
    ) -> pd.DataFrame:
        """Return what each validation image's history says: a row per image, see `image_insight.COLUMNS`.

        `rank` keeps and sorts those worth a look, at most `most` of them: `never_learned`, `mislabelled` (constantly
        taken for one other class while p(true) is low), or `forgotten`. The index is the image's number, which
        `thumbnail` takes. `images` are the numbers of some images; `stable` is the k of the left and right rules, by
        the number of validations where it is not given.
        """
        from deeptracker.data_model.image_insight import image_insight, ranked
        from deeptracker.data_model.rules.image_flips import default_stable

        stable = stable or default_stable(self._images.axis.records)
        table = image_insight(self.result_portions(images), self.class_names, stable)
        return table if rank is None else ranked(table, rank, most)

    def cube(self, images: str = "both", *, stable: int | None = None) -> EventCube:
        """Return the correlation cube: which images flipped when, which filters moved out of line when, and how
        strongly layers and classes go together.

        `images` says which flips count: `left` (after a stable stretch), `right` (into one) or `both`; `stable` is
        their k, by the number of validations where it is not given. Raises QueryError for another word.
        """
        from deeptracker.data_model.cube import IMAGE_RULES, cube_of_run
        from deeptracker.data_model.rules.image_flips import default_stable

        if images not in IMAGE_RULES:
            raise QueryError(f"Flips are {', '.join(IMAGE_RULES)}; {images!r} was given.")
        return cube_of_run(self, images, stable or default_stable(self._images.axis.records))

    def images_of(self, class_name: str) -> NDArray[np.int64]:
        """Return the numbers of a class's images."""
        if class_name not in self.class_names:
            raise QueryError(f"There is no class {class_name!r}; this run has {_some(self.class_names)}.")
        return np.flatnonzero(self._images.image_class == self.class_names.index(class_name))

    def thumbnail(self, image: int) -> NDArray[np.uint8] | None:
        """Return an image's small picture, (height, width, 3) uint8; None when none was recorded."""
        return self._images.thumbnail(image)

    def anomalies(self, rules: Sequence[Any] | None = None, iterations: tuple[int, int] | None = None) -> pd.DataFrame:
        """Return what the rules find: a table of rule, kind, entity, start, stop, score and message."""
        from deeptracker.data_model.detection import find_anomalies

        return find_anomalies(self, rules=rules, iterations=iterations)

    def episodes(self, rules: Sequence[Any] | None = None, iterations: tuple[int, int] | None = None) -> list[Episode]:
        """Return the episodes that touch the window, the most important first: findings that belong together.

        Each says where it began, what followed, and what it rests on, in a few sentences (`text`). `rules` as for
        `anomalies`; of rules that are given, each finding makes an episode, also such as by default only tell what
        went along with one. A rule that fails is named in a `RuleFailedWarning`.
        """
        from deeptracker.data_model.detection import detect, warn_of
        from deeptracker.data_model.episodes import episodes_of_run, self_supporting

        detection = detect(self, rules)
        warn_of(detection)
        found = episodes_of_run(self, detection.anomalies if rules is None else self_supporting(detection.anomalies))
        first, stop = iterations or self.iterations
        return [one for one in found if one.start < stop and one.stop > first]

    def view(self, **options: Any) -> Any:
        """Return the linked views of the run, for a notebook's cell; what draws them comes with `deeptracker[viewer]`.

        The viewer announces itself as an entry point, so that reading runs depends on no way of drawing them.
        """
        for point in entry_points(group=VIEWERS):
            try:
                return point.load()(self, **options)
            except ModuleNotFoundError as error:
                raise DeepTrackerError(
                    f"The viewer needs {error.name}. Install it with: pip install 'deeptracker[viewer]'"
                ) from error
        raise DeepTrackerError(f"No viewer is installed (entry point {VIEWERS!r}): pip install 'deeptracker[viewer]'")


def _newest(storage: Storage, before: Commit | None = None, known: Images | None = None) -> tuple[Commit, Images]:
    """Return the newest commit and its images, which are read at once: what a run is cut back to is written anew."""
    for _ in range(_TRIES):
        root = read_root(storage)
        if before is not None and root.manifest.created_at != before.manifest.created_at:
            began = pd.Timestamp(root.manifest.created_at, unit="s").strftime("%Y-%m-%d %H:%M:%S")
            raise RunReplacedError(
                f"Another run, begun at {began} UTC, was recorded at {storage} in place of the one that is open. "
                "Open it anew to see it."
            )
        commit = Commit(storage, before, root)
        images = Images(commit, known)
        if not commit.manifest.images or storage.stamp(ROOT) == commit.stamp:
            break
        if read_root(storage).manifest.generation == commit.manifest.generation:
            break
    return commit, images


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"


def open_run(place: Place) -> Run:
    """Open a recorded run for reading, live or finished, by its path or URL.

    Raises NotARunError where there is no run, RunFormatError where it is damaged or of a newer format, and
    RunAccessError where the operating system refuses.
    """
    return Run(place)
