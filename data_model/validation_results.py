"""The results of validations in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.families import MISSING_RESULT


@dataclass(frozen=True)
class ValidationResults:
    """Results over (validation, image), with the images' ids and class numbers.

    `predicted` and `rank` are int32 with -1, `probability` float32 with NaN, where an image was not validated.
    """

    iteration: NDArray[np.int64]
    image: NDArray[Any]
    image_class: NDArray[np.int32]
    predicted: NDArray[np.int32]
    probability: NDArray[np.float32]
    rank: NDArray[np.int32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image was taken for the class it had then, (validation, image); False where not validated.

        By the rank, not by `image_class`: an image may have been given another class since.
        """
        first: NDArray[np.bool_] = self.rank == 0
        return first

    @property
    def correct(self) -> NDArray[np.int8]:
        """As `right`, (validation, image): 1 right, 0 wrong, -1 where the image was not validated."""
        return np.where(self.seen, self.right, -1).astype(np.int8)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether each image was validated, (validation, image)."""
        known: NDArray[np.bool_] = self.predicted != MISSING_RESULT
        return known
