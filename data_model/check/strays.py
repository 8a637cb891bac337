"""Files in the folder of a run that no commit names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deeptracker.data_model.check.findings import Finding
from deeptracker.data_model.check.inventory import Stored
from deeptracker.data_model.holder import LOCK
from deeptracker.data_model.presence import parse_file_name
from deeptracker.data_model.root import COPY, ROOT
from deeptracker.data_model.storage import Storage

REMOVAL = "removed"
"""What is said of the repair of a stray that DeepTracker has written."""

_OURS = (
    (re.compile(r".*\.partial"), "left by a write that was interrupted"),
    (re.compile(r"tail/[a-z]+-[0-9]+\.npz"), "records that meanwhile lie in other files"),
    (re.compile(r"[a-z_]+(/[a-z_]+[0-9]?)*/zarr\.json"), "of an array that no commit names"),
)


def strays(storage: Storage, named: Iterable[Stored]) -> list[Finding]:
    """Return the files that are none of those `named`, nor the run's root or lock."""
    known = {ROOT, COPY, LOCK, *(stored.name for stored in named)}
    return [_stray(name) for name in storage.names() if name not in known]


def _stray(name: str) -> Finding:
    said = next((words for pattern, words in _OURS if pattern.fullmatch(name)), "")
    if not said and parse_file_name(name) is not None:
        said = "written for a commit that never came, or cut off since"
    if said:
        return Finding(name, "stray", said, repair=REMOVAL)
    return Finding(name, "stray", "nothing that DeepTracker writes")
