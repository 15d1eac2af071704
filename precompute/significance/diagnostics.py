"""Diagnostics of a run's own scores, good or bad: decoys on top, concentration, likeness of clips, error rates.

Arrays: Q clips x N tracks, float64, higher = stronger influence. `is_train` and `is_decoy` are boolean [N] masks of the
*regular* tracks that enter the statistics; planted tracks are in neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from precompute.corpus.tracks import Track
from precompute.significance.q_values import Q_LIMIT, compute_q_values
from precompute.significance.ranks import correlate_clips, correlate_with_property, rank_scores
from precompute.significance.verdicts import TrackMasks, Verdicts, mask_tracks


class RunFigure(NamedTuple):
    """One figure about a run."""

    name: str
    value: float
    meaning: str  # a plain clause


def diagnose(verdicts: Verdicts, targets: np.ndarray, tracks: Sequence[Track], generated: int) -> list[RunFigure]:
    """Figures about one method's results.

    The first `generated` clips of `verdicts` are generated ones; the rest unlearn the track rows `targets` [T].
    """
    masks = mask_tracks(tracks)
    scores = {"raw": verdicts.score[:generated], "norm": verdicts.score_norm[:generated]}
    seconds = np.array([t.duration_s for t in tracks])
    return [
        *(_diagnose_decoys(scores, masks) if masks.is_decoy.any() else []),
        *_diagnose_rankings(scores, masks.trained, seconds),
        *_count_above_noise(verdicts.above_noise[:generated], masks),
        *(_diagnose_targets(verdicts, targets, generated) if len(targets) else []),
    ]


def _diagnose_decoys(scores: dict[str, np.ndarray], masks: TrackMasks) -> list[RunFigure]:
    is_train, is_decoy, _ = masks
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
    rate = estimate_error_rate(scores["norm"], is_decoy)
    meaning = "share of clips where half of the decoys, posing as tracks, pass q <= 0.10"
    return [*figures, RunFigure("fdr_empirical", rate, meaning)]


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


def _count_above_noise(above_noise: np.ndarray, masks: TrackMasks) -> list[RunFigure]:
    tracks = float((above_noise & masks.trained).sum(1).mean())
    decoys = float((above_noise & masks.is_decoy).sum(1).mean())
    return [
        RunFigure("above_noise_mean", tracks, "training tracks above noise, mean over generated clips"),
        RunFigure("above_noise_decoys_mean", decoys, "decoys that meet the same criteria, mean over generated clips"),
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


def estimate_error_rate(scores: np.ndarray, is_decoy: np.ndarray, limit: float = Q_LIMIT, seed: int = 0) -> float:
    """Calibration: half the decoys play tracks; share of clips in which any of them passes q <= `limit`.

    All of them are false, so every clip with a discovery is an error; nominal = `limit`.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(is_decoy))
    half = len(order) // 2
    pretend, control = np.zeros(len(is_decoy), bool), np.zeros(len(is_decoy), bool)
    pretend[order[:half]], control[order[half:]] = True, True
    return float(np.mean([(compute_q_values(row, pretend, control)[pretend] <= limit).any() for row in scores]))
