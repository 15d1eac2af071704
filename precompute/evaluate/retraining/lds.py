"""Linear datamodeling score (LDS; Park et al. 2023, arXiv 2303.14186, definition 2.1): pure functions of arrays.

Arrays: M trainings x Q clips, or Q x N tracks, float64. The LDS of a clip is Spearman's correlation, over the
trainings, of what a model answered and what the scores predict: the sum of the scores of the tracks it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 2000
COVERAGE = 0.95
BLOCK = 50  # resamples that are ranked at once


def predict_answers(scores: np.ndarray, rows: Sequence[Sequence[int]], copies: np.ndarray) -> np.ndarray:
    """Sums of the scores [Q, N] over the tracks `rows` of each training: [M, Q].

    `copies` [N]: how often training draws a track in an epoch. A score is of one copy, and a track that is drawn eight
    times as often is eight of them.
    """
    weighted = np.asarray(scores, np.float64) * copies
    return np.stack([weighted[:, list(own)].sum(1) for own in rows])


def rank_columns(values: np.ndarray) -> np.ndarray:
    """Ranks along the first axis, ties by their mean, minus the mean rank and scaled to length 1; 0 where all tie."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    centred = ranks - ranks.mean(0)
    length = np.sqrt((centred**2).sum(0))
    return centred / np.where(length > 0, length, 1)


def compute_lds(answers: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the trainings for each clip: [M, Q] x 2 -> [Q], or [..., M, Q] with M first."""
    return (rank_columns(answers) * rank_columns(predictions)).sum(0)


def resample(trainings: int, clips: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draws with replacement of trainings [M, B] and of clips [Q, B], jointly, in blocks of B resamples."""
    generator = np.random.default_rng(seed)
    for _ in range(RESAMPLES // BLOCK):
        yield (
            generator.integers(trainings, size=(trainings, BLOCK)),
            generator.integers(clips, size=(clips, BLOCK)),
        )


def bootstrap_lds(answers: np.ndarray, predictions: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Mean LDS over clips of several methods under the same resamples of trainings and clips: [RESAMPLES, methods].

    Clips share their trainings and trainings their clips, so both are drawn; differences of columns are paired.
    """
    means = []
    for rows, columns in resample(len(answers), answers.shape[1], seed):
        drawn = rank_columns(answers[rows])  # [M, B, Q]
        block = []
        for own in predictions:
            lds = (drawn * rank_columns(own[rows])).sum(0)  # [B, Q]
            block.append(np.take_along_axis(lds, columns.T, 1).mean(1))
        means.append(np.stack(block, 1))
    return np.concatenate(means)


def find_interval(means: np.ndarray) -> tuple[float, float]:
    """Percentile interval of resampled means [RESAMPLES]."""
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def measure_ceiling(answers: np.ndarray, again: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean correlation over clips of the answers of two seeds on the same halves, [M, Q] each, with its interval.

    A method that knew the mean answer over all seeds would have the square root of it as its LDS.
    """
    means = bootstrap_lds(answers, [again], seed)[:, 0]
    return float(compute_lds(answers, again).mean()), *find_interval(means)
