"""Ranks of scores, and correlations of rankings. Arrays: Q clips x N tracks, float64; rank 1 = strongest."""

from __future__ import annotations

import numpy as np


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 (the highest score) along the last axis; ties by position, so that a ranking can be repeated."""
    order = np.argsort(-scores, axis=-1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, scores.shape[-1] + 1), axis=-1)
    return rank


def correlate_clips(scores: np.ndarray) -> float:
    """Mean Spearman correlation of the tracks' rankings over all pairs of clips; 1 = every clip gets the same list."""
    if len(scores) < 2:
        return 0.0
    table = np.corrcoef(rank_scores(-scores))
    return float(table[np.triu_indices(len(scores), 1)].mean())


def correlate_with_property(scores: np.ndarray, values: np.ndarray) -> float:
    """Mean over clips of the Spearman correlation of scores [Q, N] with a property of the tracks [N]."""
    other = rank_scores(-values[None])[0]
    return float(np.mean([np.corrcoef(row, other)[0, 1] for row in rank_scores(-scores)]))


def correlate_rows(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson correlation of each row of `one` with that of `other`, [Q, N] both, mean over rows, within [-1, 1].

    A row that does not vary counts 0.
    """
    one, other = (x - x.mean(1, keepdims=True) for x in (one, other))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    values = np.where(lengths > 0, (one * other).sum(1) / np.where(lengths > 0, lengths, 1.0), 0.0)
    return float(np.clip(values, -1, 1).mean()) if len(values) else 0.0
