"""The width of sketches: the recall of the ten strongest tracks, measured over widths.

The clips are the cohort's, whose exact scores are known. They are cut into folds: what estimates and normalises a fold
is fitted on the others. For a clip, the shortlist gets its exact scores, all others keep their estimates, and the ten
strongest training tracks of that list are compared with those of the exact one. The shortlist is chosen as `attribute`
chooses it: the tested match bins go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.index.search import (
    Estimator,
    choose_shortlist,
    fold_sketches,
    multiply_sketches,
    quantise_sketches,
)
from precompute.significance.normalisation import Normalisation
from precompute.significance.ranks import rank_scores

TOP = 10
FOLDS = 6
NARROWEST = 512  # of the widths that are measured


@dataclass(frozen=True)
class WidthRecall:
    """Recall and size of sketches of one width."""

    width: int  # k
    recall: float  # share of the ten strongest by exact scores that are so by the mixed ones too, mean over clips
    recall_alone: float  # that of estimates alone, without exact scores
    rho: float  # Spearman correlation of sketched and exact raw scores, mean over clips
    bytes_a_track: int


@dataclass(frozen=True)
class RecallSample:
    """Scores and sketches that widths are compared on: K clips of the cohort, n tracks and decoys."""

    exact: np.ndarray  # [K, n]: scores
    rows: np.ndarray  # [n, W] float32: widest sketches of tracks
    clips: np.ndarray  # [K, W] float32: of the cohort's clips
    lengths: np.ndarray  # [K]: |b|, see `index/__init__.py`
    is_train: np.ndarray  # bool [n]: regular training tracks
    match_bin: np.ndarray  # [K, n] of clips and tracks


def list_widths(widest: int) -> list[int]:
    """The widest and its halves, ascending."""
    widths = [widest]
    while widths[-1] % 2 == 0 and widths[-1] // 2 >= min(NARROWEST, widest // 4):
        widths.append(widths[-1] // 2)
    return sorted(widths)


def measure_recall(sample: RecallSample, width: int, shortlist: int) -> WidthRecall:
    """Recall at one width, with exact scores for a shortlist of so many tracks and decoys."""
    sketches, scale = quantise_sketches(fold_sketches(sample.rows, width))
    folded = fold_sketches(sample.clips, width)
    sketched = multiply_sketches(sketches, scale, folded)
    clips = np.arange(len(sample.exact))
    folds = min(FOLDS, max(2, len(clips) // 2))
    with_exact: list[float] = []
    alone: list[float] = []
    for part in range(folds):
        held, rest = clips[clips % folds == part], clips[clips % folds != part]
        normalisation = Normalisation.fit(sample.exact[rest])
        estimator = Estimator.fit(sample.exact[rest], sketched[rest], folded[rest], sample.lengths[rest])
        estimates = estimator.estimate(estimator.correct(sketched[held], folded[held]), sample.lengths[held])
        short = choose_shortlist(normalisation.apply(estimates), sample.match_bin[held], shortlist)
        mixed = np.where(short, sample.exact[held], estimates)
        wanted = _find_first(normalisation.apply(sample.exact[held]), sample.is_train)
        with_exact += _measure_shares(wanted, _find_first(normalisation.apply(mixed), sample.is_train))
        alone += _measure_shares(wanted, _find_first(normalisation.apply(estimates), sample.is_train))
    ranks = rank_scores(-sketched[:, sample.is_train]), rank_scores(-sample.exact[:, sample.is_train])
    rho = [np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)]
    return WidthRecall(width, float(np.mean(with_exact)), float(np.mean(alone)), float(np.mean(rho)), width + 4)


def choose_width(points: Sequence[WidthRecall], wanted: float) -> int:
    """The least width that reaches the wanted recall; the one of highest recall where none does."""
    enough = [point.width for point in points if point.recall >= wanted]
    return min(enough) if enough else max(points, key=lambda point: (point.recall, -point.width)).width


def _find_first(scores: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    """The training tracks that are among the ten strongest of each clip, bool [Q, n]."""
    return rank_scores(np.where(is_train, scores, -np.inf)) <= min(TOP, int(is_train.sum()))


def _measure_shares(wanted: np.ndarray, present: np.ndarray) -> list[float]:
    return list((wanted & present).sum(1) / wanted.sum(1))


def format_recall(points: Sequence[WidthRecall], width: int, tracks: int, clips: int, shortlist: int) -> str:
    """The curve as text for a terminal; `width`: the one that is taken."""
    lines = [
        f"recall of the {TOP} strongest training tracks, {clips} cohort clips, {tracks} tracks and decoys, shortlist "
        f"{shortlist}:",
        "       k   recall   estimates alone   rho   bytes a track",
    ]
    for p in points:
        mark = "  <- taken" if p.width == width else ""
        lines.append(
            f"  {p.width:6d}   {p.recall:6.3f}   {p.recall_alone:15.3f}   {p.rho:.2f}  {p.bytes_a_track}{mark}"
        )
    return "\n".join(lines)
