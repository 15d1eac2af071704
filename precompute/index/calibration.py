"""From estimated and exact scores of new clips by unlearning to verdicts, by what the index knows of the cohort.

N tracks, Q new clips, H halves of a clip's draws. Tracks and decoys are treated alike at every step, so that decoys
still tell how high a track stands that did not matter. A clip's decoys centre and scale its candidates, and are nulls
beside the cohort's, whose scores are exact: where a tested bin is larger than the shortlist, some of the clip's are
estimates, which lie closer together than exact scores do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precompute.index.layout import UnlearningPart
from precompute.index.search import Estimator, choose_shortlist, multiply_sketches
from precompute.significance.normalisation import Normalisation
from precompute.significance.standard_errors import estimate_standard_error
from precompute.significance.verdicts import ClipGroups, TrackRoles, Verdicts, reach_verdicts


@dataclass(frozen=True)
class SketchedScores:
    """Scores of Q new clips from sketches, corrected by what these are known to miss."""

    halves: np.ndarray  # [Q, H, N]
    windows: list[np.ndarray]  # Q of [W, N]: parts by window of the clip
    lengths: np.ndarray  # [Q]: |b|


@dataclass(frozen=True)
class IndexCalibration:
    """Estimator and normalisation, fitted once on the cohort of an index."""

    noise: np.ndarray  # [N]: standard error over a track's draws for a clip of length |b| = 1
    estimator: Estimator
    normalisation: Normalisation
    roles: TrackRoles
    groups: ClipGroups  # of the new clips, then of the cohort's

    @classmethod
    def fit(cls, part: UnlearningPart, roles: TrackRoles, groups: ClipGroups) -> IndexCalibration:
        """Fit on the cohort's exact scores and sketches."""
        sketched = multiply_sketches(part.numbers[:, 0], part.scale[:, 0], part.clips)
        estimator = Estimator.fit(part.cohort.T, sketched, part.clips, part.lengths)
        return cls(part.noise, estimator, Normalisation.fit(part.cohort.T), roles, groups)

    def choose_places(self, sketched: SketchedScores, count: int) -> np.ndarray:
        """Places [n] of the tracks and decoys that are on the shortlist of any of the clips, `count` of each."""
        estimates = self.estimator.estimate(sketched.halves.mean(1), sketched.lengths)
        match_bin = self.groups.match_bin[: len(estimates)]
        return np.flatnonzero(choose_shortlist(self.normalisation.apply(estimates), match_bin, count).any(0))

    def judge_clips(self, sketched: SketchedScores, places: np.ndarray, exact: np.ndarray) -> Verdicts:
        """Verdicts on the clips' scores.

        `exact`: partial scores [Q, n, R, S, H] of the tracks at `places` [n]. Errors of estimates hold draws of the
        clip, draws of the track (as large as they were for the cohort) and the sketch; spreads count as fixed.
        """
        halves, lengths = sketched.halves, sketched.lengths
        score = self.estimator.estimate(halves.mean(1), lengths)
        by_clip = estimate_standard_error((self.estimator.slope * halves).transpose(1, 0, 2)[None])
        own = np.square(lengths)[:, None] * (np.square(self.noise) + np.square(self.estimator.residual))
        std_error = np.sqrt(np.square(by_clip) + own)
        score[:, places] = exact.mean((2, 3, 4))
        std_error[:, places] = estimate_standard_error(exact.mean(3).transpose(2, 3, 0, 1))
        return reach_verdicts(score, std_error, self.normalisation, self.roles, self.groups)
