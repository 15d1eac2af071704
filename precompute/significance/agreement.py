"""How far methods agree on the same clips: of normalised scores, training tracks alone.

No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precompute.significance.error_rates import ranks
from precompute.store.publication import Columns

TOPS = (10, 100)


def agreement_columns(method_ids: Sequence[int], scores: Sequence[np.ndarray]) -> Columns:
    """Table `agreement`, both orders of every pair; `scores` by method: [Q, N], generated clips and training tracks."""
    columns: Columns = {name: [] for name in ("method_a", "method_b", "pearson", "spearman", "top10", "top100")}
    for a, one in zip(method_ids, scores, strict=True):
        for b, other in zip(method_ids, scores, strict=True):
            if a == b:
                continue
            columns["method_a"].append(a)
            columns["method_b"].append(b)
            for name, value in pair(one, other).items():
                columns[name].append(value)
    return columns


def pair(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Of two methods' scores [Q, N]: means over the clips. A clip for which a method has no differences counts 0."""
    found = {
        "pearson": mean_correlation(one, other),
        "spearman": mean_correlation(ranks(-one).astype(float), ranks(-other).astype(float)),
    }
    for top in TOPS:
        found[f"top{top}"] = common(one, other, top)
    return found


def mean_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, mean over rows, within [-1, 1]."""
    one, other = (x - x.mean(1, keepdims=True) for x in (one, other))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    values = np.where(lengths > 0, (one * other).sum(1) / np.where(lengths > 0, lengths, 1.0), 0.0)
    return float(np.clip(values, -1, 1).mean()) if len(values) else 0.0


def common(one: np.ndarray, other: np.ndarray, top: int) -> float:
    """Share of the `top` best tracks of each clip that both methods name, mean over clips."""
    top = min(top, one.shape[1])
    both = (ranks(one) <= top) & (ranks(other) <= top)
    return float(both.sum(1).mean() / top) if len(one) else 0.0
