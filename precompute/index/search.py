"""Scores of all tracks from their sketches, and how far such an estimate can be trusted.

N tracks, Q new clips, K cohort clips, H halves of a clip's draws, k numbers a sketch. A sketch makes an error of its
own for every pair of track and clip, linear in either. The cohort's errors are known, for its exact scores are at hand:
1. a clip's sketch is written as a combination of the cohort's, by ridge regression, and what sketches are known to miss
   of these is added (a control variate: only the rest of the clip is then at the mercy of the sketch);
2. an estimate is the straight line that best leads from such scores of a track to its exact ones, each clip of the
   cohort being combined from the others, in units of the clip's length |b|; its error is what that line leaves.
No torch.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from precompute.index.layout import Index, Rows
from precompute.significance.normalisation import Normalisation
from precompute.significance.standard_errors import estimate_standard_error
from precompute.significance.verdicts import Verdicts, reach_verdicts

RIDGES = (0.001, 0.01, 0.1, 1.0, 10.0)  # tried; in units of a clip's squared length
BLOCK = 1 << 20  # int8 numbers that are turned to float32 at once: they stay in the cache


def fold(sketches: np.ndarray, width: int) -> np.ndarray:
    """[n, W] -> [n, width], width dividing W: places equal modulo width are added up, which is a sketch too."""
    return sketches.reshape(len(sketches), -1, width).sum(1)


def quantised(sketches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n, k] float32 -> int8 [n, k] and scales [n] float32: the largest magnitude of a row is 127."""
    scale = np.abs(sketches).max(1) / np.float32(127)
    whole = np.rint(sketches / np.where(scale > 0, scale, 1)[:, None])
    return whole.astype(np.int8), scale.astype(np.float32)


def products(sketches: np.ndarray, scale: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Sketched scores [n, N] float64 of clips [n, k] float32 with N tracks' int8 sketches, read once, by all cores."""
    count, width = sketches.shape
    step = max(1, BLOCK // width)
    found, turned = np.empty((count, len(clips))), np.ascontiguousarray(clips.T, dtype=np.float32)

    def block(start: int) -> None:
        found[start : start + step] = sketches[start : start + step].astype(np.float32) @ turned

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2) as pool:
        list(pool.map(block, range(0, count, step)))
    return found.T * scale.astype(np.float64)


@dataclass(frozen=True)
class Estimator:
    """From sketched scores of a clip to estimates of the exact ones."""

    weights: np.ndarray  # [k, K]: a clip's sketch times this says how far each clip of the cohort makes it up
    correction: np.ndarray  # [K, N]: exact less sketched scores of the cohort's clips
    slope: np.ndarray  # [N]
    offset: np.ndarray  # [N], for a clip of length 1
    residual: np.ndarray  # [N]: standard deviation of what an estimate misses, for a clip of length 1

    @classmethod
    def fit(cls, exact: np.ndarray, sketched: np.ndarray, clips: np.ndarray, lengths: np.ndarray) -> Estimator:
        """From the cohort: scores [K, N], sketches [K, k] and lengths |b| [K].

        A clip counts as combined from the others when the line and its residual are fitted. A line never falls: a slope
        below 0 counts as 0.
        """
        unit = clips.astype(np.float64) / lengths[:, None]
        y, x = exact / lengths[:, None], sketched / lengths[:, None]
        gram, missed = unit @ unit.T, y - x
        inverses = [np.linalg.inv(gram + ridge * np.eye(len(gram))) for ridge in RIDGES]
        left = [inverse @ missed / np.diag(inverse)[:, None] for inverse in inverses]  # one clip from the others
        best = int(np.argmin([np.square(errors).sum() for errors in left]))
        x = y - left[best]
        centre_x, centre_y = x.mean(0), y.mean(0)
        spread = np.square(x - centre_x).sum(0)
        shared = ((x - centre_x) * (y - centre_y)).sum(0)
        slope = np.where(spread > 0, np.maximum(shared, 0) / np.where(spread > 0, spread, 1), 0.0)
        offset = centre_y - slope * centre_x
        residual = np.sqrt(np.square(y - offset - slope * x).sum(0) / max(1, len(x) - 2))
        return cls(unit.T @ inverses[best], missed, slope, offset, residual)

    def corrected(self, sketched: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """[n, N] and the clips' sketches [n, k] -> [n, N]; linear in the clip."""
        return sketched + (clips @ self.weights) @ self.correction

    def __call__(self, sketched: np.ndarray, clips: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """[Q, N], [Q, k] and [Q] -> [Q, N]"""
        return self.line(self.corrected(sketched, clips), lengths)

    def line(self, corrected: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """[Q, N] and [Q] -> [Q, N]"""
        return self.offset * lengths[:, None] + self.slope * corrected


@dataclass(frozen=True)
class Judge:
    """Turns scores of new clips, exact or estimated, into what the store says of them; fitted once on the cohort.

    Tracks and decoys are treated alike at every step, so that decoys still tell how high an innocent track can score.
    """

    rows: Rows
    estimator: Estimator
    normalisation: Normalisation

    @classmethod
    def of(cls, index: Index) -> Judge:
        rows = index.rows
        sketched = products(rows.sketches, rows.scale, index.cohort.sketches)
        estimator = Estimator.fit(rows.cohort.T, sketched, index.cohort.sketches, index.cohort.lengths)
        return cls(rows, estimator, Normalisation.fit(rows.cohort.T, rows.is_train, rows.is_control))

    def shortlist(self, estimates: np.ndarray, count: int) -> np.ndarray:
        """Places [n] of the `count` tracks and decoys of highest estimated normalised score, of any of the clips."""
        order = np.argsort(-self.normalisation.apply(estimates), axis=1, kind="stable")
        return np.unique(order[:, :count])

    def judged(self, halves: np.ndarray, lengths: np.ndarray, places: np.ndarray, exact: np.ndarray) -> Verdicts:
        """All that the store says of the clips' scores.

        `halves`: corrected scores [Q, H, N]; `lengths`: |b| [Q]; `exact`: partial scores [Q, n, R, S, H] of the tracks
        at `places` [n]. Errors of estimates hold draws of the clip, draws of the track (as large as they were for the
        cohort) and the sketch; in those of normalised scores, modes, centres and widths count as fixed.
        """
        score = self.estimator.line(halves.mean(1), lengths)
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
