"""Builds the index of a run anew: every file of its levels, from the records, segment by segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from deeptracker.data_model.check.inventory import Stored
from deeptracker.data_model.check.rebuild import Rebuilder
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.families import family_value
from deeptracker.data_model.indexing.segments import Segment, stages
from deeptracker.data_model.lock import acquire
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.node_metadata import METADATA, node_text
from deeptracker.data_model.presence import file_name
from deeptracker.data_model.root import read_root
from deeptracker.data_model.shards import ChunkCache
from deeptracker.data_model.storage import Place, open_storage
from deeptracker.data_model.workers import crew

_CACHE_BYTES = 32 << 20

MOST_THREADS = 4
"""More workers than this would wait for one another in one process: what is not compiled runs one at a time."""

WORTH_STARTING = 4 << 30
"""Bytes of records per worker below which it is not worth its while to start processes, which takes seconds."""

Progress = Callable[[int, int], None]
"""Is told how many records have been summarised, and how many there are, all families and levels together."""


@dataclass(frozen=True)
class Work:
    """A segment, and the run that it is of: by its URL, and by which of its states, so that no other is built upon."""

    url: str
    created_at: float
    generation: int
    segment: Segment


class Done(NamedTuple):
    """What became of a segment: the records it stands for, files and their bytes, and CPU seconds it took."""

    records: int
    files: int
    written_bytes: int
    cpu_seconds: float


@dataclass
class Built:
    """What was built: files and their bytes, the uncompressed bytes of the records behind them, and what it took.

    `cpu_seconds` are those of all workers, without what it took to start them.
    """

    path: str
    families: list[str] = field(default_factory=list)
    segments: int = 0
    files: int = 0
    written_bytes: int = 0
    record_bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


def build_index(
    place: Place,
    families: Sequence[str] | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Built:
    """Write every file of a run's levels anew from the records; the same files, to the bit, as recording wrote.

    Of all families that have levels, or of those named. `workers` and `scheduler` as for `crew`: they must reach the
    run by the same path or URL. A few workers, or any on a small run, are threads of this process; others processes.
    Interrupted, it leaves whole files of both makings, which are the same. Raises RunLockedError while the run is
    recorded, RunFormatError where records are damaged, and what `crew` raises.
    """
    storage = open_storage(place)
    read_root(storage)  # before anything is written: there may be no run
    held = acquire(storage)
    begun = time.perf_counter()
    try:
        manifest, nodes, _ = read_root(storage)
        plan = list(stages(manifest, nodes, families))
        every = [segment for stage in plan for segment in stage]
        report = Built(str(storage), sorted({segment.family for segment in every}))
        for path in sorted({path for segment in every for path, _ in segment.files}):
            for node in (path.rpartition("/")[0], path):
                storage.write(f"{node}/{METADATA}", node_text(nodes[node]))
        done, total = 0, sum(segment.records[1] - segment.records[0] for segment in every)
        report.record_bytes = sum(_record_bytes(manifest, family) for family in report.families)
        threads = workers <= MOST_THREADS or report.record_bytes < workers * WORTH_STARTING
        with crew(workers=workers, scheduler=scheduler, threads=threads) as each:
            for stage in plan:
                works = [Work(storage.url, manifest.created_at, manifest.generation, segment) for segment in stage]
                for one in each(build_segment, works):
                    held.check()
                    _add(report, one)
                    done += one.records
                    if progress is not None:
                        progress(done, total)
        report.seconds = time.perf_counter() - begun
        return report
    finally:
        held.release()


def _add(report: Built, one: Done) -> None:
    report.segments += 1
    report.files += one.files
    report.written_bytes += one.written_bytes
    report.cpu_seconds += one.cpu_seconds


def build_segment(work: Work) -> Done:
    """Write the files of a segment."""
    begun = time.thread_time()
    storage = open_storage(work.url)
    # With a cache of its own: what this process knows of the levels may be what is replaced.
    commit = Commit(storage, cache=ChunkCache(_CACHE_BYTES))
    if (commit.manifest.created_at, commit.manifest.generation) != (work.created_at, work.generation):
        raise RunFormatError(f"{storage} is not the run it was when its index began to be built. Build it again.")
    rebuilder, written = Rebuilder(commit), 0
    for path, place in work.segment.files:
        content = rebuilder.content(Stored(file_name(path, place), path, place, work.segment.family))
        storage.write(file_name(path, place), content)
        written += len(content)
    records = work.segment.records[1] - work.segment.records[0]
    return Done(records, len(work.segment.files), written, time.thread_time() - begun)


def _record_bytes(manifest: Manifest, family: str) -> int:
    statistics = len(manifest.statistics[family]) if family in manifest.statistics else 1
    value = family_value(family, statistics, manifest.entity_count(family))
    return manifest.logs[family].records * int(np.prod(value.shape)) * np.dtype(value.dtype).itemsize
