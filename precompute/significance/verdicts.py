"""Verdicts: both claims and the ranks of every (clip, track) pair, assembled here for run, index and removal.

*Shaped this clip* is a statement about a pair, *shaped the model* about a track; the two are never mixed. The test is
`explorer/store/above_noise.py`. Arrays: Q clips x N tracks in the order of the corpus, decoys among them; K clips of
the cohort; higher score = stronger influence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from explorer.store.above_noise import FALSE_RATE, BinRecord, PairClaims, find_standing, judge_pairs
from precompute.corpus.tracks import Track
from precompute.significance.normalisation import Normalisation
from precompute.significance.ranks import correlate_rows, rank_scores
from precompute.significance.standard_errors import estimate_standard_error

HUB_SHARE, HUB_CLIPS = 0.2, 3  # a hub is above noise for more than this share of the generated clips, and for so many


class TrackRoles(NamedTuple):
    """Roles of the tracks in the statistics; arrays [N]."""

    is_train: np.ndarray  # regular training tracks; these and ...
    is_decoy: np.ndarray  # ... regular decoys enter the diagnostics, planted ones of either kind do not
    trained: np.ndarray  # all training tracks, planted ones too: these get a train_rank
    matched: np.ndarray  # decoys that are one training track's match: the nulls of *shaped the model*
    work: np.ndarray  # int: equal for renderings of one work


class ClipGroups(NamedTuple):
    """The clips that are judged together."""

    match_bin: np.ndarray  # [Q + K, N]: of the stored clips, then of the cohort's
    generated: int  # the first of the Q: shown clips; the others are training tracks, unlearned themselves


@dataclass(frozen=True)
class TrackClaims:
    """The claim *shaped the model*, and hubs; arrays [N]."""

    score_mean: np.ndarray  # of normalised scores over generated and cohort clips
    p_value: np.ndarray  # NaN without decoys
    q_value: np.ndarray  # NaN for decoys
    above_noise: np.ndarray  # bool
    clips_above: np.ndarray  # int: generated clips for which the track is above noise
    is_hub: np.ndarray  # bool


@dataclass(frozen=True)
class Verdicts:
    """Scores with all that the store says of them; arrays [Q, N]."""

    score: np.ndarray
    std_error: np.ndarray
    score_norm: np.ndarray
    std_error_norm: np.ndarray
    match_bin: np.ndarray
    p_value: np.ndarray  # NaN where nothing is said
    q_value: np.ndarray  # NaN where nothing is said
    above_noise: np.ndarray
    rank: np.ndarray
    train_rank: np.ndarray  # 0 for decoys
    bins: list[BinRecord]  # what the p-values rest on
    of_tracks: TrackClaims


def assign_roles(tracks: Sequence[Track]) -> TrackRoles:
    """Roles of the tracks of a corpus, in its order."""
    decoy = np.array([t.is_decoy for t in tracks])
    regular = np.array([not t.planted for t in tracks])
    matched = decoy & np.array([t.matched_to is not None for t in tracks])
    work = np.unique([t.work_id for t in tracks], return_inverse=True)[1]
    return TrackRoles(~decoy & regular, decoy & regular, ~decoy, matched if matched.any() else decoy, work)


def reach_verdicts(
    score: np.ndarray, std_error: np.ndarray, normalisation: Normalisation, roles: TrackRoles, clips: ClipGroups
) -> Verdicts:
    """Verdicts on raw scores [Q, N] of the stored clips and their standard errors."""
    count, generated = len(score), clips.generated
    norm, error = normalisation.apply(score), normalisation.apply(std_error)
    together = np.concatenate([score, normalisation.raw])
    gives_nulls = np.ones(len(together), bool)
    gives_nulls[generated:count] = False
    pairs = judge_pairs(together, std_error, clips.match_bin, ~roles.trained, roles.work, count, gives_nulls)
    return Verdicts(
        score=score,
        std_error=std_error,
        score_norm=norm,
        std_error_norm=error,
        match_bin=clips.match_bin[:count],
        p_value=pairs.p_value,
        q_value=pairs.q_value,
        above_noise=pairs.above_noise,
        rank=rank_scores(norm),
        train_rank=rank_training_tracks(norm, roles.trained),
        bins=pairs.bins,
        of_tracks=_judge_tracks(np.concatenate([norm, normalisation.cohort])[gives_nulls], pairs, roles, generated),
    )


def rank_training_tracks(scores: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Ranks [Q, N] among the training tracks alone, 0 for decoys."""
    ranks = np.zeros(scores.shape, dtype=int)
    ranks[:, trained] = rank_scores(scores[:, trained])
    return ranks


def _judge_tracks(scores: np.ndarray, pairs: PairClaims, roles: TrackRoles, generated: int) -> TrackClaims:
    """Claims about tracks, from normalised scores of generated and cohort clips."""
    mean = scores.mean(0)
    p_value, q_value = np.full(len(mean), np.nan), np.full(len(mean), np.nan)
    p_value[roles.trained], q_value[roles.trained] = find_standing(mean[roles.trained], mean[roles.matched])
    clips_above = pairs.above_noise[:generated].sum(0)
    return TrackClaims(
        score_mean=mean,
        p_value=p_value,
        q_value=q_value,
        above_noise=np.nan_to_num(q_value, nan=1.0) <= FALSE_RATE,
        clips_above=clips_above,
        is_hub=find_hubs(clips_above, generated),
    )


def find_hubs(clips_above: np.ndarray, generated: int) -> np.ndarray:
    """bool [N]: above noise for many of the generated clips; `clips_above` [N]: for how many."""
    return (clips_above >= HUB_CLIPS) & (clips_above > HUB_SHARE * generated)


def calibrate_scores(cells: np.ndarray, normalisation: Normalisation, roles: TrackRoles, clips: ClipGroups) -> Verdicts:
    """Verdicts on one method's results: partial scores [Q, N, R, S, H], normalised as fitted on the method's cohort."""
    error = estimate_standard_error(cells.mean(3).transpose(2, 3, 0, 1))
    return reach_verdicts(cells.mean((2, 3, 4)), error, normalisation, roles, clips)


def measure_reliability(cells: np.ndarray, normalisation: Normalisation, trained: np.ndarray) -> float | None:
    """Split-half reliability: Spearman correlation of the training tracks' rankings, mean over clips.

    Of partial scores [Q, N, R, S, H], one half are the first replicates with the first half of the clip's draws, the
    other the rest: no draw of a track or of a clip is in both. None where nothing was drawn on both sides.
    """
    replicates, halves = cells.shape[2], cells.shape[4]
    if replicates < 2 or halves < 2 or not len(cells):
        return None
    middle = replicates // 2
    one = normalisation.apply(cells[:, :, :middle, :, 0].mean((2, 3)))[:, trained]
    other = normalisation.apply(cells[:, :, middle:, :, 1].mean((2, 3)))[:, trained]
    return correlate_rows(rank_scores(-one).astype(float), rank_scores(-other).astype(float))
