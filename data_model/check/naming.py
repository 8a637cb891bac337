"""Which file it was that an array could not be read for."""

from __future__ import annotations

from deeptracker.data_model.check.verify import problem
from deeptracker.data_model.presence import Presence, file_name
from deeptracker.data_model.storage import Storage


def damaged_file(storage: Storage, path: str, presence: Presence) -> str:
    """Return the first file of an array that is damaged, and what is wrong with it; the array's path without one."""
    for coordinates in presence.files(path):
        name = file_name(path, coordinates)
        try:
            wrong = problem(storage.read(name), presence.node(path), coordinates)
        except FileNotFoundError:
            continue
        if wrong:
            return f"{name} is damaged ({wrong})"
    return f"{path} cannot be read"
