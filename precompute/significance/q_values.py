"""q-values and *above noise*: which tracks of one clip stand out from decoys, tracks that the model never heard.

Higher score = stronger influence. `is_train` and `is_decoy` are boolean [N] masks of the *regular* tracks that enter
the statistics; planted tracks are in neither and are only given values.
Source: target-decoy competition (Elias & Gygi 2007). `explorer.store.ranking.compute_q_values` is the page's twin,
which orders by other scores; a test holds the two together.
"""

from __future__ import annotations

import numpy as np

Q_LIMIT = 0.10  # above noise: q-value at most this ...
SE_LIMIT = 2.0  # ... and score more than this many standard errors


def compute_q_values(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """False discovery rate of calling a track and all above it influential: one clip, [N] -> [N] in [0, 1].

    FDR(s) = min(1, (1 + decoys >= s)(N_train / N_decoy) / max(1, tracks >= s)), then the least rate of any lower
    threshold (monotone). Without decoys nothing can be told from noise: every q-value is 1.
    """
    tracks, decoys = np.sort(scores[is_train]), np.sort(scores[is_decoy])
    if len(decoys) == 0 or len(tracks) == 0:
        return np.ones(len(scores))
    thresholds = np.unique(np.concatenate([tracks, decoys]))
    tracks_above = len(tracks) - np.searchsorted(tracks, thresholds, "left")
    decoys_above = len(decoys) - np.searchsorted(decoys, thresholds, "left")
    rate = (1 + decoys_above) * (len(tracks) / len(decoys)) / np.maximum(1, tracks_above)
    monotone = np.minimum.accumulate(np.minimum(1.0, rate))  # thresholds ascend: lower thresholds come first
    place = np.searchsorted(thresholds, scores, "right") - 1
    return np.where(place >= 0, monotone[np.maximum(place, 0)], 1.0)


def is_above_noise(score_norm: np.ndarray, std_error_norm: np.ndarray, q_value: np.ndarray) -> np.ndarray:
    """The definition of *above noise*: q-value <= 0.10 and score > 2 standard errors, both of the normalised score.

    Asked of the raw score, the second condition would let decoys pass more easily than tracks: theirs are larger.
    Repeated, since `explorer` imports nothing of `precompute`: in `explorer/derived.sql`, with the roles of tracks and
    decoys exchanged, and its limit of the q-value in `explorer.store.ranking`, for spans of a clip.
    """
    return (q_value <= Q_LIMIT) & (score_norm > SE_LIMIT * std_error_norm)
