"""A recorded run as of a commit: where it lies, how it stands, and what was recorded of which layers and classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import param
from numpy.typing import NDArray

from deeptracker.data_model.blocks import block_names
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.contents import Contents, contents
from deeptracker.data_model.errors import RunReplacedError
from deeptracker.data_model.holder import read_holder
from deeptracker.data_model.images import Images
from deeptracker.data_model.remarks import remarks
from deeptracker.data_model.root import ROOT, read_root
from deeptracker.data_model.series import SeriesReader
from deeptracker.data_model.storage import Place, Storage, open_storage
from deeptracker.data_model.vocabulary import SCALARS, Description, Layer, Statistic

_SILENCE = 120.0
"""Seconds after which a writer on another host, which nobody here can ask, counts as gone."""

_TRIES = 5


class RunFacts(param.Parameterized):
    """What a run says about itself, as of its newest commit read; `refresh` follows a run that is being recorded."""

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
