"""Which value a statistic exceeds once in so many times, told from the tail of its own past.

Peaks over a threshold: the largest share of the values is described by a generalised Pareto distribution, fitted by
probability-weighted moments (Hosking and Wallis 1987), and extrapolated to the risk that is wanted, as in SPOT (Siffer
et al., KDD 2017). The past is pooled over series that were brought to one scale.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FEWEST_EXCESSES = 20
HEAVIEST = 0.5
"""The largest shape that is believed; a fit on few excesses may say anything."""


def exceeded_with_risk(values: npt.NDArray[np.float64], risk: float, share: float) -> float:
    """Return the value that is exceeded with probability `risk`, from values >= 0 (n,) whose largest `share` is tail.

    0 where there are too few values to tell. Never below the beginning of the tail.
    """
    count = len(values)
    excesses = max(FEWEST_EXCESSES, int(count * share))
    if 2 * excesses > count:
        return 0.0
    tail = np.sort(np.partition(values, count - excesses - 1)[count - excesses - 1 :])
    base, excess = float(tail[0]), tail[1:] - tail[0]
    mean = float(excess.mean())
    weighted = float((excess * np.linspace(1, 0, excesses)).mean())
    difference = mean - 2 * weighted
    shape = min(max(2 - mean / difference, 0.0), HEAVIEST) if difference > 1e-12 else HEAVIEST
    scale = mean * (1 - shape)
    times = excesses / count / risk
    if times < 1:
        return base
    if shape < 1e-3:
        return base + scale * float(np.log(times))
    return float(base + scale / shape * (times**shape - 1))
