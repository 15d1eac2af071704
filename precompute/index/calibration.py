"""From estimated and exact scores of new clips to verdicts, by what the index knows of the cohort.

N tracks, Q new clips, H halves of a clip's draws. Tracks and decoys are treated alike at every step, so that decoys
still tell how high an innocent track can score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.index.layout import Index, IndexRows
from precompute.index.search import Estimator, multiply_sketches
from precompute.significance.normalisation import Normalisation
from precompute.significance.standard_errors import estimate_standard_error
from precompute.significance.verdicts import Verdicts, fit_normalisation, reach_verdicts


@dataclass(frozen=True)
class IndexCalibration:
    """Estimator and normalisation, fitted once on the cohort of an index."""

    rows: IndexRows
    estimator: Estimator
    normalisation: Normalisation

    @classmethod
    def fit(cls, index: Index) -> IndexCalibration:
        """Fit on the cohort's exact scores and sketches."""
        rows, cohort = index.rows, index.cohort
        sketched = multiply_sketches(rows.sketches, rows.scale, cohort.sketches)
        estimator = Estimator.fit(rows.cohort.T, sketched, cohort.sketches, cohort.lengths)
        return cls(rows, estimator, fit_normalisation(rows.cohort.T, rows.masks))

    def choose_shortlist(self, estimates: np.ndarray, count: int) -> np.ndarray:
        """Places [n] of the `count` tracks and decoys of highest estimated normalised score, of any of the clips."""
        order = np.argsort(-self.normalisation.apply(estimates), axis=1, kind="stable")
        return np.unique(order[:, :count])

    def judge_clips(self, halves: np.ndarray, lengths: np.ndarray, places: np.ndarray, exact: np.ndarray) -> Verdicts:
        """Verdicts on the clips' scores.

        `halves`: corrected scores [Q, H, N]; `lengths`: |b| [Q]; `exact`: partial scores [Q, n, R, S, H] of the tracks
        at `places` [n]. Errors of estimates hold draws of the clip, draws of the track (as large as they were for the
        cohort) and the sketch; in those of normalised scores, modes, centres and widths count as fixed.
        """
        score = self.estimator.estimate(halves.mean(1), lengths)
        by_clip = estimate_standard_error((self.estimator.slope * halves).transpose(1, 0, 2)[None])
        own = np.square(lengths)[:, None] * (np.square(self.rows.noise) + np.square(self.estimator.residual))
        std_error = np.sqrt(np.square(by_clip) + own)
        score[:, places] = exact.mean((2, 3, 4))
        std_error[:, places] = estimate_standard_error(exact.mean(3).transpose(2, 3, 0, 1))
        return reach_verdicts(
            score=score,
            std_error=std_error,
            score_norm=self.normalisation.apply(score),
            std_error_norm=self.normalisation.convert_error(std_error, score),
            masks=self.rows.masks,
        )
