"""Checks a run, and puts right what follows from what is whole."""

from __future__ import annotations

from deeptracker.data_model.check.findings import Finding, Report
from deeptracker.data_model.check.inspection import Inspector, Progress
from deeptracker.data_model.check.roots import open_root
from deeptracker.data_model.check.strays import REMOVAL, strays
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.holder import read_holder
from deeptracker.data_model.lock import acquire
from deeptracker.data_model.root import COPY, ROOT
from deeptracker.data_model.shards import ChunkCache
from deeptracker.data_model.storage import Place, Storage, open_storage

_TRIES = 5
_CACHE_BYTES = 64 << 20


def check_run(place: Place, progress: Progress | None = None) -> Report:
    """Look at every file of a run, live or not, and return what was found. Nothing is written.

    Raises NotARunError where there is no run, NewerFormatError where a later version wrote it, and RunAccessError where
    reading is refused.
    """
    storage = open_storage(place)
    report, inspector = _check(storage, progress)
    holder = read_holder(storage)
    if inspector is not None and (holder is None or holder.alive() is False):
        # While a recorder is at work there are files that the next commit will name.
        report.findings += strays(storage, inspector.files)
    return report


def repair_run(place: Place, progress: Progress | None = None, *, remove_strays: bool = False) -> Report:
    """Check a run, and write anew what can be told from the rest of it: see `Finding.repair`.

    Nothing else is touched. With `remove_strays`, files that no commit names are deleted, unless DeepTracker never
    wrote such. Raises RunLockedError while a recorder holds the run, and what `check_run` raises.
    """
    storage = open_storage(place)
    open_root(storage)  # before anything is written: there may be no run
    held = acquire(storage)
    try:
        storage = held.storage
        report, inspector = _check(storage, progress)
        if inspector is not None:
            _repair(storage, report, inspector)
            report.findings += strays(storage, inspector.files)
        for finding in report.strays if remove_strays else ():
            if finding.repair == REMOVAL:
                storage.delete(finding.file)
                _settle(report, finding)
        return report
    finally:
        held.release()


def _check(storage: Storage, progress: Progress | None) -> tuple[Report, Inspector | None]:
    """Check all that a commit names; without an inspector where there is no telling what that is."""
    for _ in range(_TRIES):
        root, found = open_root(storage)
        report = Report(str(storage), findings=found, files=1)
        if root is None:
            return report, None
        # With a cache of its own: what viewers in this process still know is not what lies on the disk.
        inspector = Inspector(storage, Commit(storage, root=root, cache=ChunkCache(_CACHE_BYTES)))
        report.state, report.version = root.manifest.state, root.manifest.version
        report.findings += inspector.findings(progress)
        report.files, report.bytes = len(inspector.files) + 1, inspector.bytes
        # What is missing may have been dropped by a commit that came meanwhile: then that one is looked at.
        if not report.damage or storage.stamp(ROOT) == root.stamp:
            break
    return report, inspector


def _repair(storage: Storage, report: Report, inspector: Inspector) -> None:
    """Write anew what can be, in the order of the inventory: sources first."""
    known = {stored.name: stored for stored in inspector.files}
    for finding in [finding for finding in report.damage if finding.repair]:
        if finding.file in (ROOT, COPY):
            storage.write(finding.file, storage.read(COPY if finding.file == ROOT else ROOT), durable=True)
            _settle(report, finding)
            continue
        stored = known[finding.file]
        try:
            content = inspector.rebuilder.content(stored)
        except RunFormatError:
            continue  # what it follows from is damaged itself, which is among the findings
        storage.write(stored.name, content)
        if inspector.look(stored) is None:
            _settle(report, finding)


def _settle(report: Report, finding: Finding) -> None:
    report.findings.remove(finding)
    report.repaired.append(finding)
