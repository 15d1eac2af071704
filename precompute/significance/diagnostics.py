"""Diagnostics of a run's own scores, good or bad: decoys on top, concentration, likeness of clips, findings.

Arrays: Q clips x N tracks, float64, higher = stronger influence. `is_train` and `is_decoy` are boolean [N] masks of the
*regular* tracks that enter the statistics; planted tracks are in neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from precompute.corpus.tracks import Track
from precompute.significance.ranks import correlate_clips, correlate_with_property, rank_scores
from precompute.significance.verdicts import TrackRoles, Verdicts, assign_roles


class RunFigure(NamedTuple):
    """One figure about a run."""

    name: str
    value: float
    meaning: str  # a plain clause


def diagnose(verdicts: Verdicts, targets: np.ndarray, tracks: Sequence[Track], generated: int) -> list[RunFigure]:
    """Figures about one method's results.

    The first `generated` clips of `verdicts` are generated ones; the rest unlearn the track rows `targets` [T].
    """
    roles = assign_roles(tracks)
    scores = {"raw": verdicts.score[:generated], "norm": verdicts.score_norm[:generated]}
    seconds = np.array([t.duration_s for t in tracks])
    return [
        *(_diagnose_decoys(scores, roles) if roles.is_decoy.any() else []),
        *_diagnose_rankings(scores, roles.trained, seconds),
        *_count_above_noise(verdicts, generated),
        *(_diagnose_targets(verdicts, targets, generated) if len(targets) else []),
    ]


def _diagnose_decoys(scores: dict[str, np.ndarray], roles: TrackRoles) -> list[RunFigure]:
    is_train, is_decoy = roles.is_train, roles.is_decoy
    chance = float(is_decoy.sum() / (is_train.sum() + is_decoy.sum()))
    figures = [
        RunFigure("decoys_chance", chance, "share of decoys among regular items: what a random ranking shows"),
    ]
    for name, values in scores.items():
        for top in (10, 40):
            share = measure_decoy_share(values, is_train, is_decoy, top)
            meaning = f"share of never-heard decoys in the top {top}, {name} score"
            figures.append(RunFigure(f"decoys_top{top}_{name}", share, meaning))
        area = compute_auc(values, is_train, is_decoy)
        meaning = f"probability that a training track outranks a decoy, {name} score"
        figures.append(RunFigure(f"auc_{name}", area, meaning))
    return figures


def _diagnose_rankings(scores: dict[str, np.ndarray], trained: np.ndarray, seconds: np.ndarray) -> list[RunFigure]:
    kinds = {"raw": "raw", "norm": "normalised"}
    figures = []
    for top in (1, 10, 100):
        for name, values in scores.items():
            share = measure_top_share(values[:, trained], top)
            meaning = f"share of the positive {kinds[name]} score held by the top {top} training tracks"
            figures.append(RunFigure(f"share_top{top}_{name}", share, meaning))
    for name, values in scores.items():
        between = correlate_clips(values[:, trained])
        meaning = f"mean Spearman correlation of clips' rankings, {name} score"
        figures.append(RunFigure(f"clip_correlation_{name}", between, meaning))
        with_length = correlate_with_property(values[:, trained], seconds[trained])
        meaning = f"mean Spearman correlation of {name} score and track length"
        figures.append(RunFigure(f"duration_correlation_{name}", with_length, meaning))
    return figures


def _count_above_noise(verdicts: Verdicts, generated: int) -> list[RunFigure]:
    found = verdicts.above_noise[:generated]
    claims = verdicts.of_tracks
    return [
        RunFigure("above_noise_mean", float(found.sum(1).mean()), "training tracks above noise, mean over clips"),
        RunFigure("above_noise_clips", float(found.any(1).mean()), "share of clips with a track above noise"),
        RunFigure("shaped_model", float(claims.above_noise.sum()), "training tracks that are found to shape the model"),
        RunFigure("hubs", float(claims.is_hub.sum()), "training tracks above noise for many clips"),
    ]


def _diagnose_targets(verdicts: Verdicts, targets: np.ndarray, generated: int) -> list[RunFigure]:
    clips = np.arange(len(targets))
    raw = rank_scores(verdicts.score[generated:])[clips, targets]
    norm = verdicts.rank[generated:][clips, targets]
    meaning = "R: mean rank of an unlearned training track in its own {} ranking"
    return [
        RunFigure("self_rank_raw", float(raw.mean()), meaning.format("raw")),
        RunFigure("self_rank_norm", float(norm.mean()), meaning.format("normalised")),
    ]


def measure_decoy_share(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray, top: int) -> float:
    """Mean share of decoys among the `top` best regular items of each clip; chance = their share of all."""
    regular = is_train | is_decoy
    order = np.argsort(-scores[:, regular], axis=1, kind="stable")[:, :top]
    return float(is_decoy[regular][order].mean())


def compute_auc(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> float:
    """Probability that a training track stands above a decoy, mean over clips; 0.5 = chance."""
    regular = is_train | is_decoy
    n_train, n_decoy = int(is_train.sum()), int(is_decoy.sum())
    rank_from_below = rank_scores(-scores[:, regular])
    sums = rank_from_below[:, is_train[regular]].sum(1)
    return float(((sums - n_train * (n_train + 1) / 2) / (n_train * n_decoy)).mean())


def measure_top_share(scores: np.ndarray, top: int) -> float:
    """Share of the positive score held by the `top` best tracks of each clip, mean over clips with a positive score."""
    positive = np.sort(np.clip(scores, 0, None), axis=1)[:, ::-1]
    totals = positive.sum(1)
    has_positive = totals > 0
    if not has_positive.any():
        return 0.0
    return float((positive[has_positive, :top].sum(1) / totals[has_positive]).mean())
