"""Scores of all tracks from their sketches, and how far such an estimate can be trusted.

N tracks, Q new clips, K cohort clips, H halves of a clip's draws, k numbers a sketch. A sketch makes an error of its
own for every pair of track and clip. How large, and how much of a sketched score is real, the cohort tells: its exact
scores and its sketched ones are both known. So an estimate is the straight line that best leads from a track's sketched
scores of the cohort to its exact ones, in units of the clip's length |b|; its error is what that line leaves. No torch.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from precompute import calibrate
from precompute.index.layout import Index, Rows
from precompute.normalisation import Normalisation
from precompute.rows import Calibrated

BLOCK = 1 << 22  # int8 numbers that are turned to float32 at once: they stay in the cache


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
    """From a sketched score to an estimate of the exact one, track by track."""

    slope: np.ndarray  # [N]
    offset: np.ndarray  # [N], for a clip of length 1
    residual: np.ndarray  # [N]: standard deviation that the line leaves, for a clip of length 1

    @classmethod
    def fit(cls, exact: np.ndarray, sketched: np.ndarray, lengths: np.ndarray) -> Estimator:
        """From cohort scores [K, N] and the clips' lengths [K]. A line never falls: a slope below 0 counts as 0."""
        x, y = sketched / lengths[:, None], exact / lengths[:, None]
        centre_x, centre_y = x.mean(0), y.mean(0)
        spread = np.square(x - centre_x).sum(0)
        shared = ((x - centre_x) * (y - centre_y)).sum(0)
        slope = np.where(spread > 0, np.maximum(shared, 0) / np.where(spread > 0, spread, 1), 0.0)
        offset = centre_y - slope * centre_x
        left = np.square(y - offset - slope * x).sum(0) / max(1, len(x) - 2)
        return cls(slope, offset, np.sqrt(left))

    def __call__(self, sketched: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """[Q, N] and [Q] -> [Q, N]"""
        return self.offset * lengths[:, None] + self.slope * sketched


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
        estimator = Estimator.fit(rows.cohort.T, sketched, index.cohort.lengths)
        return cls(rows, estimator, Normalisation.fit(rows.cohort.T, rows.is_train, rows.is_control))

    def shortlist(self, estimates: np.ndarray, count: int) -> np.ndarray:
        """Places [n] of the `count` tracks and decoys of highest estimated normalised score, of any of the clips."""
        order = np.argsort(-self.normalisation(estimates), axis=1, kind="stable")
        return np.unique(order[:, :count])

    def judged(self, halves: np.ndarray, lengths: np.ndarray, places: np.ndarray, exact: np.ndarray) -> Calibrated:
        """All that the store says of the clips' scores.

        `halves`: sketched scores [Q, H, N]; `lengths`: |b| [Q]; `exact`: partial scores [Q, n, R, S, H] of the tracks
        at `places` [n]. Errors of estimates hold draws of the clip, draws of the track (as large as they were for the
        cohort) and the sketch; in those of normalised scores, modes, centres and widths count as fixed.
        """
        score = self.estimator(halves.mean(1), lengths)
        by_clip = calibrate.standard_error((self.estimator.slope * halves).transpose(1, 0, 2)[None])
        own = np.square(lengths)[:, None] * (np.square(self.rows.noise) + np.square(self.estimator.residual))
        std_error = np.sqrt(np.square(by_clip) + own)
        score[:, places] = exact.mean((2, 3, 4))
        std_error[:, places] = calibrate.standard_error(exact.mean(3).transpose(2, 3, 0, 1))
        score_norm = self.normalisation(score)
        std_error_norm = self.normalisation.alone(std_error, score)
        pairs = self.rows.is_train, self.rows.is_control
        q_value = np.stack([calibrate.q_values(row, *pairs) for row in score_norm])
        trained = ~self.rows.is_decoy
        train_rank = np.zeros(score.shape, dtype=int)
        train_rank[:, trained] = calibrate.ranks(score_norm[:, trained])
        return Calibrated(
            score=score,
            std_error=std_error,
            score_norm=score_norm,
            std_error_norm=std_error_norm,
            q_value=q_value,
            above_noise=calibrate.above_noise(score_norm, std_error_norm, q_value),
            rank=calibrate.ranks(score_norm),
            train_rank=train_rank,
        )
