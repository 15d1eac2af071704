"""Standard errors of scores, from the partial scores that they are the mean of."""

from __future__ import annotations

import numpy as np


def estimate_standard_error(cells: np.ndarray) -> np.ndarray:
    """Standard error of scores from [replicates R, halves H, ...] partial scores -> [...].

    The score is the mean over both axes. Replicates of the track's draws and halves of the clip's ascent draws are
    crossed and independent, so the variance of the mean is var_R / R + var_H / H, each of means over the other axis. A
    single replicate, or a single half, adds nothing: a score that nothing was drawn for is exact.
    """
    replicates, halves = cells.shape[:2]
    over_replicates = cells.mean(1).var(0, ddof=1) / replicates if replicates > 1 else np.zeros(cells.shape[2:])
    over_halves = cells.mean(0).var(0, ddof=1) / halves if halves > 1 else 0.0
    return np.sqrt(over_replicates + over_halves)
