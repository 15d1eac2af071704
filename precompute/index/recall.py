"""How wide must a sketch be? The recall of the ten strongest tracks, measured over widths.

The clips are the cohort's, whose exact scores are known. They are cut into folds: what estimates and normalises a fold
is fitted on the others. For a clip, the shortlist gets its exact scores, all others keep their estimates, and the ten
strongest training tracks of that list are compared with those of the exact one. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.index.search import Estimator, fold, products, quantised
from precompute.significance.normalisation import Normalisation
from precompute.significance.ranks import rank_scores

TOP = 10
FOLDS = 6
NARROWEST = 512  # of the widths that are measured


@dataclass(frozen=True)
class Point:
    """One width."""

    width: int  # k
    recall: float  # share of the exact first ten that the shortlist's list has among its own, mean over clips
    recall_alone: float  # the same by estimates alone, without exact scores
    rho: float  # Spearman correlation of sketched and exact raw scores, mean over clips
    bytes_a_track: int


@dataclass(frozen=True)
class Measured:
    """What the widths are compared on."""

    exact: np.ndarray  # [K, n]
    rows: np.ndarray  # [n, W] float32: widest sketches of tracks
    clips: np.ndarray  # [K, W] float32: of the cohort's clips
    lengths: np.ndarray  # [K]
    is_train: np.ndarray  # bool [n]
    is_control: np.ndarray  # bool [n]


def widths_of(widest: int) -> list[int]:
    """The widest and its halves."""
    widths = [widest]
    while widths[-1] % 2 == 0 and widths[-1] // 2 >= min(NARROWEST, widest // 4):
        widths.append(widths[-1] // 2)
    return sorted(widths)


def curve(measured: Measured, widths: Sequence[int], shortlist: int) -> list[Point]:
    """Recall at each width."""
    return [_point(measured, width, shortlist) for width in widths]


def chosen(points: Sequence[Point], wanted: float) -> int:
    """The least width that reaches the wanted recall; the one of highest recall where none does."""
    enough = [point.width for point in points if point.recall >= wanted]
    return min(enough) if enough else max(points, key=lambda point: (point.recall, -point.width)).width


def _point(measured: Measured, width: int, shortlist: int) -> Point:
    sketches, scale = quantised(fold(measured.rows, width))
    folded = fold(measured.clips, width)
    sketched = products(sketches, scale, folded)
    clips = np.arange(len(measured.exact))
    folds = min(FOLDS, max(2, len(clips) // 2))
    with_exact, alone = [], []
    for part in range(folds):
        held, rest = clips[clips % folds == part], clips[clips % folds != part]
        normalisation = Normalisation.fit(measured.exact[rest], measured.is_train, measured.is_control)
        estimator = Estimator.fit(measured.exact[rest], sketched[rest], folded[rest], measured.lengths[rest])
        estimates = estimator(sketched[held], folded[held], measured.lengths[held])
        mixed = _mixed(estimates, normalisation.apply(estimates), measured.exact[held], shortlist)
        wanted = _first(normalisation.apply(measured.exact[held]), measured.is_train)
        with_exact += _shared(wanted, _first(normalisation.apply(mixed), measured.is_train))
        alone += _shared(wanted, _first(normalisation.apply(estimates), measured.is_train))
    order = rank_scores(-sketched[:, measured.is_train]), rank_scores(-measured.exact[:, measured.is_train])
    rho = [np.corrcoef(a, b)[0, 1] for a, b in zip(*order, strict=True)]
    return Point(width, float(np.mean(with_exact)), float(np.mean(alone)), float(np.mean(rho)), width + 4)


def _mixed(estimates: np.ndarray, order: np.ndarray, exact: np.ndarray, shortlist: int) -> np.ndarray:
    """Exact scores for each clip's own shortlist, estimates for the rest."""
    short = np.argsort(-order, axis=1, kind="stable")[:, :shortlist]
    mixed = estimates.copy()
    np.put_along_axis(mixed, short, np.take_along_axis(exact, short, 1), 1)
    return mixed


def _first(scores: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    """Which training tracks are among the ten strongest of each clip, bool [Q, n]."""
    return rank_scores(np.where(is_train, scores, -np.inf)) <= min(TOP, int(is_train.sum()))


def _shared(wanted: np.ndarray, found: np.ndarray) -> list[float]:
    return list((wanted & found).sum(1) / wanted.sum(1))


def told(points: Sequence[Point], width: int, tracks: int, clips: int, shortlist: int) -> str:
    """The curve as text for a terminal."""
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
