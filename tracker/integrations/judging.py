"""What an adapter is told of a validation batch, by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deeptracker.data_model.errors import RecordingError
from deeptracker.tracker.validation import Validation

Judge = Callable[[Any, Any], tuple[Any, ...]]
"""Makes (ids, logits, targets), or (ids, logits, targets, images), of a batch and what the framework made of it."""


def log_batch(validation: Validation, judged: tuple[Any, ...]) -> None:
    """Log what a `Judge` has made; RecordingError when it is neither of the two."""
    if not isinstance(judged, tuple) or len(judged) not in (3, 4):
        raise RecordingError(
            f"The validation function returned {type(judged).__name__}; return a tuple (ids, logits, targets), or "
            "(ids, logits, targets, images)."
        )
    ids, logits, targets, *images = judged
    validation.log(ids, logits=logits, targets=targets, images=images[0] if images else None)
