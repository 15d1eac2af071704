"""Statistics of score matrices for the judgement by known truths: pure functions of arrays, higher = stronger.

Arrays: Q clips x N tracks or P pairs x S seeds, float64. Ranks count from 1 = strongest; ties by position.
"""

from __future__ import annotations

import math

import numpy as np

from precompute.significance.ranks import rank_scores

RESAMPLES = 10_000
COVERAGE = 0.95  # of an interval


def count_wins(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """1 where a score is above the other's, 0.5 where they are equal, else 0; of any shape."""
    return np.where(scores > others, 1.0, np.where(scores == others, 0.5, 0.0))


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of independent `values` [P] (Efron 1979), resampled with a fixed seed."""
    rows = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[rows].mean(1), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def count_hits_in_top(scores: np.ndarray, wanted: np.ndarray, top: int) -> np.ndarray:
    """Number of the `wanted` (bool [N]) among the `top` best of each clip: [Q] int."""
    return ((rank_scores(scores) <= top) & wanted).sum(1)


def compute_chance_of_hits(tracks: int, wanted: int, top: int, least: int) -> float:
    """Probability that a random ranking has at least `least` of the `wanted` in its top (hypergeometric)."""
    top = min(top, tracks)
    ways = [math.comb(wanted, k) * math.comb(tracks - wanted, top - k) for k in range(least, min(wanted, top) + 1)]
    return sum(ways) / math.comb(tracks, top)


def compute_chance_of_most(each: float, trials: int, least: int) -> float:
    """Probability of at least `least` successes in independent `trials` that succeed with probability `each`."""
    return sum(math.comb(trials, k) * each**k * (1 - each) ** (trials - k) for k in range(least, trials + 1))


def average_wins(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """[tracks, decoys]: share of the clips in which a track is above a decoy; the mean over the table is the AUC."""
    wins = np.zeros((int(is_train.sum()), int(is_decoy.sum())))
    for row in scores:
        wins += count_wins(row[is_train][:, None], row[is_decoy][None])
    return wins / len(scores)


def bootstrap_two_way_interval(values: np.ndarray, seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """95 % percentile interval of the mean of a table whose rows and columns are both sampled (Owen 2007, pigeonhole).

    Clips are not resampled: they share their tracks, and chance lies in the choice of tracks.
    """
    generator = np.random.default_rng(seed)
    rows, columns = (generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n for n in values.shape)
    low, high = np.quantile(np.einsum("br,br->b", rows @ values, columns), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
