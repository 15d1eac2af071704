"""Normalised scores: in units of what is usual for a track, fitted on the cohort: clips that are not shown.

A track's scores are divided by their standard deviation over the cohort, so that tracks of large gradients do not lead
every list. No mean is subtracted: a track's mean over clips is where training shows (README of `precompute`), and
subtracting it deletes what is tested. Arrays: Q clips x N tracks, K cohort clips, float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorer.store.above_noise import LEAST_SPREAD


@dataclass(frozen=True)
class Normalisation:
    """Fitted on a cohort; applied to any clips of the same tracks."""

    spread: np.ndarray  # [N]: standard deviation of a track's scores over the cohort
    raw: np.ndarray  # [K, N]: the cohort's scores as they are
    cohort: np.ndarray  # [K, N]: the same normalised, each clip left out of its own spread

    @classmethod
    def fit(cls, cohort: np.ndarray) -> Normalisation:
        """Fit on raw cohort scores [K, N]."""
        spread, others = cohort.std(0, ddof=1), _leave_each_out(cohort)
        return cls(replace_zero_spreads(spread), cohort, cohort / replace_zero_spreads(others))

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Normalise scores, or standard errors, of clips outside the cohort: [..., N] -> [..., N]."""
        return scores / self.spread


def _leave_each_out(cohort: np.ndarray) -> np.ndarray:
    """Standard deviations [K, N] over the other clips, from sums about the mean; of all where two are left."""
    count = len(cohort)
    if count < 4:
        return np.broadcast_to(cohort.std(0, ddof=1), cohort.shape)
    deviation = cohort - cohort.mean(0)
    total = np.square(deviation).sum(0)
    # of the others: sum of squares about their own mean = total - d^2 K / (K - 1)
    return np.sqrt(np.maximum(0.0, total - np.square(deviation) * count / (count - 1)) / (count - 2))


def replace_zero_spreads(spreads: np.ndarray) -> np.ndarray:
    """Replace spreads near zero by 1, so that what never varies may be divided by them."""
    return np.where(spreads > LEAST_SPREAD * max(1e-300, float(spreads.max(initial=0.0))), spreads, 1.0)
