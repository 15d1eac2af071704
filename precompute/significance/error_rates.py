"""From scores to what may be believed: standard errors, ranks, decoy-based error rates, and the run's diagnostics.

Arrays: Q clips x N tracks, float64, higher = stronger influence. `is_train` and `is_decoy` are boolean [N] masks of the
*regular* tracks that enter the statistics; planted tracks are in neither and are only given values.
Definition: q-value from target-decoy competition (Elias & Gygi 2007).
"""

from __future__ import annotations

import numpy as np

Q_LIMIT = 0.10  # above noise: q-value at most this ...
SE_LIMIT = 2.0  # ... and score more than this many standard errors


def standard_error(cells: np.ndarray) -> np.ndarray:
    """Standard error of scores from [replicates R, halves H, ...] partial scores -> [...].

    The score is the mean over both axes. Replicates of the track's draws and halves of the clip's ascent draws are
    crossed and independent, so the variance of the mean is var_R / R + var_H / H, each of means over the other axis. A
    single one of either has no error of its own: a score that nothing was drawn for is exact.
    """
    replicates, halves = cells.shape[:2]
    over_replicates = cells.mean(1).var(0, ddof=1) / replicates if replicates > 1 else np.zeros(cells.shape[2:])
    over_halves = cells.mean(0).var(0, ddof=1) / halves if halves > 1 else 0.0
    return np.sqrt(over_replicates + over_halves)


def q_values(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """False discovery rate of calling a track and all above it influential: one clip, [N] -> [N] in [0, 1].

    FDR(s) = min(1, (1 + decoys >= s)(N_train / N_decoy) / max(1, tracks >= s)), then the least rate of any lower
    threshold (monotone). Without decoys nothing can be told from noise: every q-value is 1.
    """
    tracks, decoys = np.sort(scores[is_train]), np.sort(scores[is_decoy])
    if len(decoys) == 0 or len(tracks) == 0:
        return np.ones(len(scores))
    thresholds = np.unique(np.concatenate([tracks, decoys]))
    above_tracks = len(tracks) - np.searchsorted(tracks, thresholds, "left")
    above_decoys = len(decoys) - np.searchsorted(decoys, thresholds, "left")
    rate = (1 + above_decoys) * (len(tracks) / len(decoys)) / np.maximum(1, above_tracks)
    monotone = np.minimum.accumulate(np.minimum(1.0, rate))  # thresholds ascend: lower thresholds come first
    place = np.searchsorted(thresholds, scores, "right") - 1
    return np.where(place >= 0, monotone[np.maximum(place, 0)], 1.0)


def above_noise(score_norm: np.ndarray, std_error_norm: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The only definition anywhere: q-value <= 0.10 and score > 2 standard errors, both of the normalised score.

    Asked of the raw score, the second condition would let decoys pass more easily than tracks: theirs are larger.
    """
    return (q <= Q_LIMIT) & (score_norm > SE_LIMIT * std_error_norm)


def ranks(scores: np.ndarray) -> np.ndarray:
    """1 = strongest, along the last axis; ties by position, so that a ranking can be repeated."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, scores.shape[-1] + 1), axis=-1)
    return rank


def decoys_in_top(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray, top: int) -> float:
    """Mean share of decoys among the `top` best regular items of each clip; chance = their share of all."""
    regular = is_train | is_decoy
    order = np.argsort(-scores[:, regular], axis=1, kind="stable")[:, :top]
    return float(is_decoy[regular][order].mean())


def area_under_curve(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> float:
    """Probability that a training track stands above a decoy, mean over clips; 0.5 = chance."""
    regular = is_train | is_decoy
    n_train, n_decoy = int(is_train.sum()), int(is_decoy.sum())
    rank_from_below = ranks(-scores[:, regular])
    sums = rank_from_below[:, is_train[regular]].sum(1)
    return float(((sums - n_train * (n_train + 1) / 2) / (n_train * n_decoy)).mean())


def share_of_top(scores: np.ndarray, top: int) -> float:
    """Share of the positive score held by the `top` best tracks of each clip, mean over clips with a positive score."""
    positive = np.sort(np.clip(scores, 0, None), axis=1)[:, ::-1]
    totals = positive.sum(1)
    kept = totals > 0
    return float((positive[kept, :top].sum(1) / totals[kept]).mean()) if kept.any() else 0.0


def correlation_between_clips(scores: np.ndarray) -> float:
    """Mean Spearman correlation of the tracks' rankings over all pairs of clips; 1 = every clip gets the same list."""
    if len(scores) < 2:
        return 0.0
    table = np.corrcoef(ranks(-scores))
    return float(table[np.triu_indices(len(scores), 1)].mean())


def correlation_with(scores: np.ndarray, quantity: np.ndarray) -> float:
    """Mean Spearman correlation of each clip's scores with a property of the tracks (their duration)."""
    other = ranks(-quantity[None])[0]
    return float(np.mean([np.corrcoef(row, other)[0, 1] for row in ranks(-scores)]))


def empirical_error_rate(scores: np.ndarray, is_decoy: np.ndarray, limit: float = Q_LIMIT, seed: int = 0) -> float:
    """Calibration: half the decoys play tracks; share of clips in which any of them passes q <= limit.

    All of them are false, so every clip with a discovery is an error; nominal = `limit`.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(is_decoy))
    half = len(order) // 2
    pretend, control = np.zeros(len(is_decoy), bool), np.zeros(len(is_decoy), bool)
    pretend[order[:half]], control[order[half:]] = True, True
    return float(np.mean([(q_values(row, pretend, control)[pretend] <= limit).any() for row in scores]))
