"""What was recorded, as a run gives it out: lazily, in buckets as many as a screen has pixels, or written to a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model import run_data
from deeptracker.data_model.blocks import Blocks
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.images import Images
from deeptracker.data_model.run_facts import RunFacts
from deeptracker.data_model.series import SeriesReader
from deeptracker.data_model.state_query import image_states
from deeptracker.data_model.validation_results import ValidationResults
from deeptracker.data_model.vocabulary import ACTIVATIONS, LAYERS

if TYPE_CHECKING:
    from deeptracker.data_model.export.choice import Choice, Chosen
    from deeptracker.data_model.export.exporting import Progress
    from deeptracker.data_model.export.source import Source


class RunRecords(RunFacts):
    """What was recorded of everything: raw, summarised by the index, or as files for other programs."""

    _commit: Commit
    _images: Images
    _series: SeriesReader

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

    def images_of(self, class_name: str) -> NDArray[np.int64]:
        """Return the numbers of a class's images."""
        if class_name not in self.class_names:
            raise QueryError(f"There is no class {class_name!r}; this run has {_some(self.class_names)}.")
        return np.flatnonzero(self._images.image_class == self.class_names.index(class_name))

    def thumbnail(self, image: int) -> NDArray[np.uint8] | None:
        """Return an image's small picture, (height, width, 3) uint8; None when none was recorded."""
        return self._images.thumbnail(image)


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"
