"""Orders of rows in which structure shows. Pure: values in, positions out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deeptracker.app.wall.source import MISSING, Bytes, Floats


def by_shape(values: Floats) -> npt.NDArray[np.float64]:
    """Return a score per row such that rows of a like shape lie together.

    `values` (rows, columns) may hold NaN. Rows are compared by their shape alone (centred, scaled); the score is
    their place along the direction in which the shapes differ most.
    """
    if not values.size:
        return np.full(len(values), np.nan)
    known = np.isfinite(values)
    mean = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    shape = np.where(known, values - mean[:, None], 0).astype(np.float64)
    norm = np.linalg.norm(shape, axis=1)
    shape = shape / np.where(norm > 0, norm, 1)[:, None]
    _, _, directions = np.linalg.svd(shape - shape.mean(axis=0), full_matrices=False)
    score: npt.NDArray[np.float64] = shape @ directions[0]
    # Either sign orders alike; the one that puts what falls first is always the same.
    weight = np.linspace(1, -1, shape.shape[1])
    score = score if float(directions[0] @ weight) >= 0 else -score
    return np.where(known.any(axis=1), score, np.nan)


def by_history(states: Bytes) -> npt.NDArray[np.float64]:
    """Return a score per image that puts what was learned early and kept on top, what was never learned last.

    `states` (images, validations): the share of validations in which the image was right; among equals the one that
    was right for good earlier comes first.
    """
    seen = states != MISSING
    right = seen & (states & 1 == 1)
    share = right.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    wrong = seen & ~right
    count = states.shape[1]
    last_wrong = np.where(wrong.any(axis=1), count - np.argmax(wrong[:, ::-1], axis=1), 0) if count else 0
    score = share - 1e-6 * last_wrong / max(1, count)
    return np.where(seen.any(axis=1), score, np.nan)
