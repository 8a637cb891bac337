"""Which value a statistic exceeds once in so many times, told from the tail of its own past.

Peaks over a threshold: the largest share of the values is described by a generalised Pareto distribution, fitted by
probability-weighted moments (Hosking and Wallis 1987), and extrapolated to the risk that is wanted, as in SPOT (Siffer
et al., KDD 2017). The past is pooled over series that were brought to one scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_EXCESSES = 20
HEAVIEST = 0.5
"""The largest shape that is believed."""
PRIOR_SHAPE, PRIOR_SPREAD = 0.10, 0.122
"""What shapes are found in nature, and how they spread (Martins and Stedinger 2000): a fit on few excesses may say
anything, so it is mixed with this."""
VARIANCE = 1.5
"""Variance of the shape that is told from a sample, times its size (Hosking and Wallis 1987)."""


def exceeded_with_risks(values: Floats, risks: Sequence[float], share: float) -> list[float]:
    """Return what is exceeded with these probabilities, told from values >= 0 (n,) whose largest `share` is the tail.

    0 where there are too few values to tell. Never below the beginning of the tail.
    """
    count = len(values)
    excesses = max(FEWEST_EXCESSES, int(count * share))
    if 2 * excesses > count:
        return [0.0] * len(risks)
    tail = np.sort(np.partition(values, count - excesses - 1)[count - excesses - 1 :])
    base, excess = float(tail[0]), tail[1:] - tail[0]
    mean = float(excess.mean())
    weighted = float((excess * np.linspace(1, 0, excesses)).mean())
    difference = mean - 2 * weighted
    told = min(max(2 - mean / difference, 0.0), HEAVIEST) if difference > 1e-12 else HEAVIEST
    weight = excesses / VARIANCE
    shape = (told * weight + PRIOR_SHAPE / PRIOR_SPREAD**2) / (weight + 1 / PRIOR_SPREAD**2)
    scale = mean * (1 - shape)
    return [base + _beyond(excesses / count / risk, shape, scale) for risk in risks]


def _beyond(times: float, shape: float, scale: float) -> float:
    """Return what is exceeded once in so many values of a generalised Pareto distribution."""
    if times < 1:
        return 0.0
    return scale * float(np.log(times)) if shape < 1e-3 else float(scale / shape * (times**shape - 1))
