"""Verdicts: q-value, *above noise* and ranks of every (clip, track) pair, assembled here for run, index and removal.

Arrays: Q clips x N tracks in the order of the corpus, decoys among them; higher score = stronger influence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from precompute.corpus.tracks import Track
from precompute.significance.normalisation import Normalisation
from precompute.significance.q_values import compute_q_values, is_above_noise
from precompute.significance.ranks import rank_scores
from precompute.significance.standard_errors import estimate_standard_error


class TrackMasks(NamedTuple):
    """Roles of the tracks in the statistics; bool [N] each."""

    is_train: np.ndarray  # regular training tracks; these and ...
    is_decoy: np.ndarray  # ... regular decoys enter the statistics, planted ones of either kind do not
    trained: np.ndarray  # all training tracks, planted ones too: these get a train_rank


@dataclass(frozen=True)
class Verdicts:
    """Scores with all that the store says of them; arrays [Q, N]."""

    score: np.ndarray
    std_error: np.ndarray
    score_norm: np.ndarray
    std_error_norm: np.ndarray
    q_value: np.ndarray
    above_noise: np.ndarray
    rank: np.ndarray
    train_rank: np.ndarray  # 0 for decoys


def mask_tracks(tracks: Sequence[Track]) -> TrackMasks:
    """Masks of the tracks of a corpus, in its order."""
    decoy = np.array([t.is_decoy for t in tracks])
    regular = np.array([not t.planted for t in tracks])
    return TrackMasks(~decoy & regular, decoy & regular, ~decoy)


def fit_normalisation(cohort: np.ndarray, masks: TrackMasks) -> Normalisation:
    """The normalisation that a run applies, from cohort scores [K, N]."""
    return Normalisation.fit(cohort, masks.is_train, masks.is_decoy)


def reach_verdicts(
    *,
    score: np.ndarray,
    std_error: np.ndarray,
    score_norm: np.ndarray,
    std_error_norm: np.ndarray,
    masks: TrackMasks,
    strength: np.ndarray | None = None,
) -> Verdicts:
    """q-values, *above noise* and ranks for scores [Q, N], raw and normalised, and their standard errors.

    `strength`: what ranks are given by, [Q, N], higher = stronger; None: the normalised score.
    """
    q_value = np.stack([compute_q_values(row, masks.is_train, masks.is_decoy) for row in score_norm])
    strength = score_norm if strength is None else strength
    train_rank = np.zeros(score_norm.shape, dtype=int)
    train_rank[:, masks.trained] = rank_scores(strength[:, masks.trained])
    return Verdicts(
        score=score,
        std_error=std_error,
        score_norm=score_norm,
        std_error_norm=std_error_norm,
        q_value=q_value,
        above_noise=is_above_noise(score_norm, std_error_norm, q_value),
        rank=rank_scores(strength),
        train_rank=train_rank,
    )


def calibrate_scores(cells: np.ndarray, normalisation: Normalisation, masks: TrackMasks) -> Verdicts:
    """Verdicts on one method's results: partial scores [Q, N, R, S, H], normalised as fitted on the method's cohort."""
    score = cells.mean((2, 3, 4))
    replicates = cells.mean(3).transpose(2, 3, 0, 1)
    return reach_verdicts(
        score=score,
        std_error=estimate_standard_error(replicates),
        score_norm=normalisation.apply(score),
        std_error_norm=normalisation.estimate_error(replicates),
        masks=masks,
    )
