"""How unusual is a clip's score for a track? Fitted on the cohort: clips that are not shown.

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

from precompute.significance.error_rates import standard_error

CLIPS_A_MODE = 6  # cohort clips for each mode that is removed: 8 modes of 48 clips


@dataclass(frozen=True)
class Normalisation:
    """Fitted on a cohort; applied to any clips of the same tracks."""

    mean: np.ndarray  # [N], of a track's scores over the cohort
    spread: np.ndarray  # [N], their standard deviation
    basis: np.ndarray  # [N, M], columns of length 1: how strongly a clip excites each mode; 0 outside regular tracks
    loadings: np.ndarray  # [M, N]: what a mode does to each track
    residual: np.ndarray  # [N]: standard deviation that the modes leave
    is_train: np.ndarray  # bool [N]: regular training tracks, which centre and scale a clip

    @classmethod
    def fit(
        cls, cohort: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray, modes: int | None = None
    ) -> Normalisation:
        """From cohort scores [K, N]. `modes`: how many to remove; None = one for every six clips; 0 = z- and t-norm."""
        count = len(cohort) // CLIPS_A_MODE if modes is None else modes
        mean, spread = cohort.mean(0), _positive(cohort.std(0, ddof=1))
        z = (cohort - mean) / spread
        regular = is_train | is_decoy
        by_clip, strength, by_track = np.linalg.svd(z[:, regular], full_matrices=False)
        count = int(min(count, (strength > 1e-9 * max(strength.max(initial=0.0), 1e-300)).sum()))
        basis = np.zeros((cohort.shape[1], count))
        basis[regular] = by_track[:count].T
        loadings = (by_clip[:, :count] / strength[:count]).T @ z
        residual = _positive((z - (z @ basis) @ loadings).std(0, ddof=1)) if count else np.ones_like(mean)
        return cls(mean, spread, basis, loadings, residual, is_train)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores [Q, N] -> [Q, N]: mean 0 and deviation 1 over the training tracks of each clip."""
        z = self._reduced(scores - self.mean)
        return (z - z[:, self.is_train].mean(1, keepdims=True)) / self._width(z)

    def error(self, cells: np.ndarray) -> np.ndarray:
        """Standard errors [Q, N] of normalised scores, from partial scores [R, H, Q, N] of replicates and halves.

        Centres and widths count as fixed.
        """
        z = self._reduced(cells.mean((0, 1)) - self.mean)
        return standard_error(self._reduced(cells)) / self._width(z)

    def alone(self, errors: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Standard errors [Q, N] of normalised scores from those of the raw ones [Q, N], where these alone are at hand.

        As for `error`, but modes count as fixed, too.
        """
        return errors / (self.spread * self.residual) / self._width(self._reduced(scores - self.mean))

    def _reduced(self, scores: np.ndarray) -> np.ndarray:
        """In units of a track's spread, without the modes, in units of what is then left; linear, of any [..., N]."""
        z = scores / self.spread
        return (z - (z @ self.basis) @ self.loadings) / self.residual

    def _width(self, z: np.ndarray) -> np.ndarray:
        """How much the training tracks of each clip vary, [Q, 1]."""
        return _positive(z[:, self.is_train].std(1, ddof=1, keepdims=True))


def _positive(values: np.ndarray) -> np.ndarray:
    """What never varies is left as it is."""
    return np.where(values > 1e-12, values, 1.0)
