"""From what a user gives, a path or a URL, to the storage of a run."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit
from urllib.request import url2pathname

from deeptracker.data_model.errors import NotARunError
from deeptracker.data_model.storage.interface import Storage
from deeptracker.data_model.storage.local import LocalStorage

Place = str | os.PathLike[str] | Storage
"""A path, a URL, or a storage that is made already."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def open_storage(place: Place) -> Storage:
    """Return the storage at a path or a `file://` URL; one that is made already is returned as it is."""
    if not isinstance(place, str | os.PathLike):
        return place
    scheme = _SCHEME.match(text) if isinstance(text := os.fspath(place), str) else None
    if scheme is None:
        return LocalStorage(place)
    if scheme[1].lower() == "file":
        return LocalStorage(_path_of(text))
    raise NotARunError(f"{text} is at {scheme[1]}://, where this DeepTracker cannot read runs. Give a path.")


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise NotARunError(f"{url} names no folder of this machine; give a path, or file:///folder/of/the/run.")
    return url2pathname(parts.path)
