"""zarr's view of a run for reading, in which a lost file is an error and not values that were never recorded."""

from __future__ import annotations

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from deeptracker.data_model.errors import MissingFileError
from deeptracker.data_model.presence import Presence, parse_file_name


class StrictStore(WrapperStore[Store]):
    """Raises MissingFileError for files of arrays that must be there and are not, or are empty."""

    def __init__(self, store: Store, presence: Presence, place: str) -> None:
        """Take the store, what must be there, and how messages name the run."""
        super().__init__(store)
        self._presence, self._place = presence, place

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return a file, or a part of it; None where there need not be one."""
        found = await super().get(key, prototype, byte_range)
        if found is None or not len(found):  # zarr takes an empty file, too, for one that was never written
            parsed = parse_file_name(key)
            if parsed is not None and self._presence.requires(*parsed):
                raise MissingFileError(missing(f"{self._place}/{key}", "missing" if found is None else "empty"))
        return found


def missing(file: str, how: str = "missing") -> str:
    """Return what is said of a lost file."""
    return (
        f"{file} is {how}, although the run's root says that it was written. Was the run copied completely? What lies "
        "in other files of the run is not affected; `deeptracker check` says what is."
    )
