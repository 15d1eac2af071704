"""Local alignment of two sequences, searched over twelve transpositions (after Smith and Waterman, 1981).

Conventions: rows are frames; `semitones` is how far the second sequence must be moved up to fit the first, -5 to 6:
pitch classes repeat at the octave. A path steps by (1, 1), (1, 2) or (2, 1) frames, so it may run at half to double
speed, and a held note cannot match itself for ever; it ends where its score has fallen by DROP, so that two passages
with other music between them stay two. Scores count frames: 1 for each that fits perfectly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

OFF_DIAGONAL_COST = 0.3  # frames; of a step off the diagonal
DROP = 5.0  # frames (0.5 s); a path whose score falls by this much ends
SEMITONES = tuple(range(-5, 7))


@dataclass(frozen=True)
class Alignment:
    """The span of each sequence where the two fit best; ends are exclusive. Score 0: they fit nowhere."""

    score: float  # frames of perfect fit
    semitones: int  # how far the second sequence is moved up
    first: tuple[int, int]  # frames of the first sequence
    second: tuple[int, int]  # frames of the second


def compare_frames(first: np.ndarray, second: np.ndarray, semitones: int) -> np.ndarray:
    """Cosine of every pair of frames, [n, 12] and [m, 12] of length 1 -> [n, m]; the second moved up by `semitones`."""
    return first @ np.roll(second, semitones, axis=1).T


def align(gains: np.ndarray) -> Alignment:
    """Find the best path over gains [12, n, m]: one matrix for each of SEMITONES, every value at most 1."""
    score, shift, i0, i1, j0, j1 = _find_best_path(np.ascontiguousarray(gains, dtype=np.float32))
    return Alignment(float(score), SEMITONES[shift], (i0, i1 + 1), (j0, j1 + 1))


@njit(cache=True)
def _find_best_path(gains: np.ndarray) -> tuple[np.float32, int, int, int, int, int]:  # pragma: no cover - compiled
    shifts, rows, columns = gains.shape
    best, path = np.float32(0.0), (0, 0, 0, 0, 0)
    for k in range(shifts):
        # two earlier rows are enough; where a path began, and its highest score so far, travel along with its score
        score = np.zeros((3, columns), dtype=np.float32)
        peak = np.zeros((3, columns), dtype=np.float32)
        begin_i = np.zeros((3, columns), dtype=np.int32)
        begin_j = np.zeros((3, columns), dtype=np.int32)
        for i in range(rows):
            for j in range(columns):
                value, highest, from_i, from_j = np.float32(0.0), np.float32(0.0), i, j
                for a, b, cost in ((1, 1, 0.0), (1, 2, OFF_DIAGONAL_COST), (2, 1, OFF_DIAGONAL_COST)):
                    if i < a or j < b:
                        continue
                    row, column = (i - a) % 3, j - b
                    reached = score[row, column] - np.float32(cost)
                    if reached > value:
                        value, highest = reached, peak[row, column]
                        from_i, from_j = begin_i[row, column], begin_j[row, column]
                value += gains[k, i, j]
                if value <= 0 or value < highest - DROP:
                    score[i % 3, j] = 0.0
                    continue
                score[i % 3, j], peak[i % 3, j] = value, max(highest, value)
                begin_i[i % 3, j], begin_j[i % 3, j] = from_i, from_j
                if value > best:
                    best, path = value, (k, from_i, i, from_j, j)
    return best, path[0], path[1], path[2], path[3], path[4]
