"""From what a user gives, a path or a URL, to the storage of a run."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit
from urllib.request import url2pathname

from deeptracker.data_model.errors import NotARunError, RunAccessError
from deeptracker.data_model.storage.address import CLOUDS, WEB, parse_url
from deeptracker.data_model.storage.interface import Storage
from deeptracker.data_model.storage.local import LocalStorage

Place = str | os.PathLike[str] | Storage
"""A path, a URL, or a storage that is made already."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SHORTENED = re.compile(rf"({'|'.join((*CLOUDS, *WEB))}):/(?=[^/])")
"""What becomes of a URL that somebody has made a `Path` of."""


def open_storage(place: Place) -> Storage:
    """Return the storage at a path or a URL; one that is made already is returned as it is.

    Nothing is asked yet. Raises NotARunError for a URL that names no place, and RunAccessError where it needs packages
    that are not installed.
    """
    if not isinstance(place, str | os.PathLike):
        return place
    text = url_text(place)
    if text is None:
        return LocalStorage(place)
    if text.lower().startswith("file:"):
        return LocalStorage(_path_of(text))
    address = parse_url(text)
    try:
        from deeptracker.data_model.storage.objects import ObjectStorage
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise RunAccessError(
            f"Runs at {address.scheme}:// need obstore. Install it with: pip install 'deeptracker[cloud]'"
        ) from error
    return ObjectStorage(address)


def url_text(place: str | os.PathLike[str]) -> str | None:
    """Return a URL as it was meant; None for a path."""
    text = os.fspath(place)
    if _SCHEME.match(text):
        return text
    return _SHORTENED.sub(r"\1://", text) if _SHORTENED.match(text) else None


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise NotARunError(f"{url} names no folder of this machine; give a path, or file:///folder/of/the/run.")
    return url2pathname(parts.path)
