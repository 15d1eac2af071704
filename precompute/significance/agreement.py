"""Agreement of two methods on the same clips: scores [Q, N] of training tracks, higher = stronger influence."""

from __future__ import annotations

import numpy as np

from precompute.significance.ranks import correlate_rows, rank_scores

TOPS = (10, 100)


def measure_agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """`pearson`, `spearman`, `top10`, `top100` of two methods' scores [Q, N], each a mean over the clips.

    A clip in which all of a method's scores are equal counts 0 in the correlations.
    """
    return {
        "pearson": correlate_rows(one, other),
        "spearman": correlate_rows(rank_scores(-one).astype(float), rank_scores(-other).astype(float)),
        **{f"top{top}": measure_overlap(one, other, top) for top in TOPS},
    }


def measure_overlap(one: np.ndarray, other: np.ndarray, top: int) -> float:
    """Share, in [0, 1], of the `top` strongest tracks of each clip that both methods name, mean over clips."""
    top = min(top, one.shape[1])
    both = (rank_scores(one) <= top) & (rank_scores(other) <= top)
    return float(both.sum(1).mean() / top) if len(one) else 0.0
