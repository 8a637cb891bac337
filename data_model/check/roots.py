"""The root of a run and its copy: which of them can be read, and what is wrong with the other."""

from __future__ import annotations

from deeptracker.data_model.check.findings import Finding, Kind
from deeptracker.data_model.check.rebuild import ROOT_SOURCE
from deeptracker.data_model.errors import NewerFormatError, NotARunError, RunFormatError
from deeptracker.data_model.root import COPY, ROOT, Root, read_root, understand
from deeptracker.data_model.storage import Storage

_COPY_SOURCE = f"rebuilt from its copy, {COPY}"


def open_root(storage: Storage) -> tuple[Root | None, list[Finding]]:
    """Return the root, or its copy where the root is damaged, or None where both are; and what was found.

    Raises as `read_root` where there is no run, or one of a newer format.
    """
    root, wrong, detail = _read(storage, ROOT)
    copy, copy_wrong, copy_detail = _read(storage, COPY)
    if root is None:
        if copy is None and wrong == "missing":
            read_root(storage)  # says what there is instead of a run
        concerns = "the whole run, which cannot be opened without it"
        return copy, [Finding(ROOT, wrong, concerns, detail, repair=_COPY_SOURCE if copy else "")]
    if root.manifest.state != "closed" or root.manifest.version == 1:
        return root, []
    if copy is not None and storage.read(COPY) == storage.read(ROOT):
        return root, []
    if copy is not None:
        copy_wrong, copy_detail = "damaged", "it is the copy of another root"
    return root, [
        Finding(COPY, copy_wrong, "a copy of the run's root", copy_detail, repair=f"rebuilt from {ROOT_SOURCE}")
    ]


def _read(storage: Storage, name: str) -> tuple[Root | None, Kind, str]:
    try:
        content, stamp = storage.read_stamped(name)
    except FileNotFoundError:
        return None, "missing", ""
    try:
        return Root(*understand(content, str(storage)), stamp), "damaged", ""
    except NewerFormatError:
        raise
    except RunFormatError as error:
        return None, "damaged", str(error.__cause__ or error)
    except NotARunError as error:
        if name == ROOT:
            raise
        return None, "damaged", str(error)
