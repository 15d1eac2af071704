"""Sketches of all tracks in few bytes, and scores by unlearning that are estimated from them.

N tracks, Q new clips, K cohort clips, H halves of a clip's draws, k numbers per sketch; a, b and the clip's length |b|:
see `index/__init__.py`. With sketches u of a track and v of a clip, u' v misses a' b by an error that is linear in
either. For the cohort's clips it is known, since their exact scores are:
1. corrected = u' v + sum over the cohort's clips j of c_j (exact_j - sketched_j), where sum c_j v_j approximates v by
   ridge regression (a control variate: the part of v that the sum does not reach keeps its error);
2. estimate = offset |b| + slope corrected. Slope and offset of each track are fitted by least squares on the cohort,
   scores divided by |b| and each clip corrected by the others; the standard deviation of what is left is `residual`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorer.store.above_noise import SAME_CAPTION

RIDGES = (0.001, 0.01, 0.1, 1.0, 10.0)  # tried; in units of a clip's squared length
NUMBERS = {"int8": np.int8, "fp16": np.float16, "fp32": np.float32}  # by precision
LEADING = 4  # one in so many of a shortlist is there for its place alone
BLOCK = 1 << 20  # int8 numbers that are turned to float32 at once: they stay in the cache


def fold_sketches(sketches: np.ndarray, width: int) -> np.ndarray:
    """[n, W] -> [n, width], width dividing W: places equal modulo width are added up, which is a sketch too."""
    return sketches.reshape(len(sketches), -1, width).sum(1)


def quantise_sketches(sketches: np.ndarray, precision: str = "int8") -> tuple[np.ndarray, np.ndarray]:
    """[..., k] float32 -> numbers [..., k] of the precision, and scales [...] float32 that they are multiplied by.

    int8: the largest magnitude of a row is 127; fp16: it is 1; fp32: the sketches as they are.
    """
    if precision == "fp32":
        return sketches.astype(np.float32), np.ones(sketches.shape[:-1], np.float32)
    scale = np.abs(sketches).max(-1) / np.float32(127 if precision == "int8" else 1)
    whole = sketches / np.where(scale > 0, scale, 1)[..., None]
    return (np.rint(whole) if precision == "int8" else whole).astype(NUMBERS[precision]), scale.astype(np.float32)


@dataclass(frozen=True)
class SketchTable:
    """Sketches of N tracks by replicate, quantised; the `TrackRows` of a ridge regression."""

    numbers: np.ndarray  # [N, R, k] int8, float16 or float32, memory-mapped where read from disk
    scale: np.ndarray  # [N, R] float32: a sketch is its numbers times this

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, R, k)"""
        return self.numbers.shape

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Some tracks' sketches, [n, R, k] float32."""
        return self.numbers[rows].astype(np.float32) * self.scale[rows][..., None]


def multiply_sketches(sketches: np.ndarray, scale: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Products [n, N] float64 of clips [n, k] with N tracks' sketches [N, k], float32, read once, by all cores."""
    count, width = sketches.shape
    step = max(1, BLOCK // width)
    products, turned = np.empty((count, len(clips))), np.ascontiguousarray(clips.T, dtype=np.float32)

    def multiply_block(start: int) -> None:
        products[start : start + step] = sketches[start : start + step].astype(np.float32) @ turned

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2) as pool:
        list(pool.map(multiply_block, range(0, count, step)))
    return products.T * scale.astype(np.float64)


def choose_shortlist(estimates: np.ndarray, match_bin: np.ndarray, count: int) -> np.ndarray:
    """Which tracks and decoys of each clip get exact scores: bool [Q, N], `count` of each clip.

    `estimates`: normalised, [Q, N]; `match_bin`: [Q, N]. A quarter are the strongest of all, which a list begins with;
    then come those of the tested bins, the same caption before the same style, and then all others; of each the
    strongest. Tracks and decoys are chosen alike, so that decoys still tell how high an unaffected track stands.
    """
    place = np.empty(estimates.shape, int)
    np.put_along_axis(place, np.argsort(-estimates, axis=1, kind="stable"), np.arange(estimates.shape[1])[None], 1)
    rank = np.where(place < count // LEADING, SAME_CAPTION + 1, match_bin.astype(int))
    order = np.lexsort((place, -rank), axis=1)[:, :count]
    chosen = np.zeros(estimates.shape, bool)
    np.put_along_axis(chosen, order, True, 1)
    return chosen


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
        """Fit on the cohort: scores [K, N], sketches [K, k] and lengths |b| [K].

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

    def correct(self, sketched: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """Add what sketches are known to miss: scores [n, N], sketches of the clips [n, k] -> [n, N]; linear."""
        return sketched + (clips @ self.weights) @ self.correction

    def estimate(self, corrected: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Estimates of exact scores [Q, N] from corrected ones [Q, N] and the clips' lengths |b| [Q]."""
        return self.offset * lengths[:, None] + self.slope * corrected
