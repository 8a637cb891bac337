"""The recorder's statistics once more: slow, readable, in plain float64 numpy, one tensor at a time."""

from __future__ import annotations

import numpy as np

EPSILON = 1e-12
THRESHOLDS = {"1": 1.0, **{f"1e-{k}": 10.0**-k for k in range(1, 7)}}


def spread(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the eleven statistics of a weight or gradient, over its finite values."""
    flat = np.asarray(values, np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    found = {f"{name}_nonfinite": float(flat.size - finite.size)}
    keys = ("min", "q1", "median", "q3", "max", "mean", "std", "l1", "l2", "nonzero")
    if not finite.size:
        return found | {f"{name}_{key}": np.nan for key in keys}
    q1, median, q3 = np.quantile(finite, [0.25, 0.5, 0.75])
    numbers = (
        finite.min(),
        q1,
        median,
        q3,
        finite.max(),
        finite.mean(),
        finite.std(),
        np.abs(finite).sum(),
        np.sqrt((finite**2).sum()),
        (finite != 0).mean(),
    )
    return found | {f"{name}_{key}": float(number) for key, number in zip(keys, numbers, strict=True)}


def change(after: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """Return the relative changes and the shares above each threshold, over pairs of finite values."""
    new, old = (np.asarray(one, np.float64).ravel() for one in (after, before))
    both = np.isfinite(new) & np.isfinite(old)
    new, old = new[both], old[both]
    moved = np.abs(new - old)
    found = {
        "relative_change_l1": moved.sum() / (np.abs(old).sum() + EPSILON),
        "relative_change_l2": np.sqrt((moved**2).sum()) / (np.sqrt((old**2).sum()) + EPSILON),
    }
    for name, threshold in THRESHOLDS.items():
        found[f"change_above_{name}"] = (moved > np.abs(old) * threshold).mean() if new.size else np.nan
    return found


def layer(weight: np.ndarray, gradient: np.ndarray | None, before: np.ndarray) -> dict[str, float]:
    """Return every statistic of a layer, or of a filter; without a gradient its statistics are left out."""
    found = spread("weight", weight) | change(weight, before)
    return found if gradient is None else found | spread("gradient", gradient)
