"""Normalised scores: how unusual a clip's score is for a track. Fitted on the cohort: clips that are not shown.

As in speaker verification: z-norm and t-norm (Auckenthaler et al. 2000), and between them the removal of common modes
(nuisance attribute projection; Solomonoff, Campbell & Boardman 2005). Why the modes: tracks that a model never heard
answer every clip in much the same way, trained ones less so. After z-norm alone a clip that excites this common answer
lifts or sinks all decoys together, and says nothing of single tracks. `python -m precompute evaluate calibration` shows
what the removal does.

Arrays: Q clips x N tracks, K cohort clips, float64. Regular training tracks and regular decoys enter the modes alike,
so that nothing but training tells them apart; planted tracks are in neither and are only given values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.significance.standard_errors import estimate_standard_error

CLIPS_A_MODE = 6  # cohort clips for each mode that is removed: 8 modes of 48 clips
LEAST_SPREAD = 1e-12  # a spread up to this is no spread


@dataclass(frozen=True)
class Normalisation:
    """Fitted on a cohort; applied to any clips of the same tracks."""

    mean: np.ndarray  # [N]: of a track's scores over the cohort
    spread: np.ndarray  # [N]: their standard deviation
    basis: np.ndarray  # [N, M]: columns of length 1: how strongly a clip excites each mode; 0 outside regular tracks
    loadings: np.ndarray  # [M, N]: what a mode does to each track
    residual: np.ndarray  # [N]: standard deviation that the modes leave
    is_train: np.ndarray  # bool [N]: regular training tracks, which centre and scale a clip

    @classmethod
    def fit(
        cls, cohort: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray, modes: int | None = None
    ) -> Normalisation:
        """Fit on cohort scores [K, N].

        `modes`: how many to remove; None = one for every six clips of the cohort; 0 = z- and t-norm alone.
        """
        count = len(cohort) // CLIPS_A_MODE if modes is None else modes
        mean, spread = cohort.mean(0), replace_zero_spreads(cohort.std(0, ddof=1))
        z = (cohort - mean) / spread
        regular = is_train | is_decoy
        by_clip, strength, by_track = np.linalg.svd(z[:, regular], full_matrices=False)
        count = int(min(count, (strength > 1e-9 * max(strength.max(initial=0.0), 1e-300)).sum()))
        basis = np.zeros((cohort.shape[1], count))
        basis[regular] = by_track[:count].T
        loadings = (by_clip[:, :count] / strength[:count]).T @ z
        residual = replace_zero_spreads((z - (z @ basis) @ loadings).std(0, ddof=1)) if count else np.ones_like(mean)
        return cls(mean, spread, basis, loadings, residual, is_train)

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Normalise scores [Q, N] -> [Q, N]: mean 0 and deviation 1 over the training tracks of each clip."""
        z = self._remove_modes(scores - self.mean)
        return (z - z[:, self.is_train].mean(1, keepdims=True)) / self._measure_width(z)

    def estimate_error(self, cells: np.ndarray) -> np.ndarray:
        """Standard errors [Q, N] of normalised scores, from partial scores [R, H, Q, N] of replicates and halves.

        Centres and widths count as fixed.
        """
        z = self._remove_modes(cells.mean((0, 1)) - self.mean)
        return estimate_standard_error(self._remove_modes(cells)) / self._measure_width(z)

    def convert_error(self, errors: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Standard errors [Q, N] of normalised scores from those of raw ones [Q, N], where no partial scores are known.

        As `estimate_error`, but modes count as fixed, too.
        """
        return errors / (self.spread * self.residual) / self._measure_width(self._remove_modes(scores - self.mean))

    def _remove_modes(self, scores: np.ndarray) -> np.ndarray:
        """Scores [..., N] in units of a track's spread, less the modes, in units of what these leave; linear."""
        z = scores / self.spread
        return (z - (z @ self.basis) @ self.loadings) / self.residual

    def _measure_width(self, z: np.ndarray) -> np.ndarray:
        """Standard deviation over the training tracks of each clip, [Q, 1]."""
        return replace_zero_spreads(z[:, self.is_train].std(1, ddof=1, keepdims=True))


def replace_zero_spreads(spreads: np.ndarray) -> np.ndarray:
    """Replace spreads near zero by 1, so that what never varies may be divided by them."""
    return np.where(spreads > LEAST_SPREAD, spreads, 1.0)
