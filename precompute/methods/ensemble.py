"""Rank average of other methods: what they agree on, without any one's scale.

Each method's scores are first put in units of a track's own spread over the cohort (else a method whose raw scores
always put the same tracks on top would count for little but that), then replaced by ranks within the clip, from -1
(last) to 1 (first), and averaged. A clip of the cohort is measured by the rest of the cohort.
"""

from __future__ import annotations

import numpy as np

from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.significance.ranks import rank_scores


class Ensemble(Method):
    """The mean of the ranks that other methods give."""

    name = "ensemble"
    label = "Ensemble"
    description = "The mean of the ranks that several methods give a track."
    cost = "nothing beyond the methods it averages"
    needs = "at least two other methods in the same run"

    def builds_on(self, name: str) -> bool:
        """True for the methods that `of` names; for all but the floor where it names none."""
        return name in self.settings.of if self.settings.of else name not in ("ensemble", "random")

    def find_obstacle(self, context: Context) -> str | None:
        """Fewer than two methods to average, or one of `of` is not in the run."""
        present = [name for name in context.config.methods.run if self.builds_on(name)]
        missing = [name for name in self.settings.of if name not in present]
        if missing:
            return f"[methods.ensemble] of names {missing[0]!r}, which [methods] run does not"
        return None if len(present) > 1 else "it averages at least two methods; name more in [methods] run"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """The mean of the others' ranks."""
        cells, cohort = zip(*(average_ranks(result) for result in others.values()), strict=True)
        replicates = max(part.shape[2] for part in cells)
        halves = max(part.shape[4] for part in cells)
        shape = (*cells[0].shape[:2], replicates, 1, halves)
        return MethodResult(np.mean([np.broadcast_to(p, shape) for p in cells], 0), np.mean(cohort, 0))


def average_ranks(result: MethodResult) -> tuple[np.ndarray, np.ndarray]:
    """One method's scores as ranks in [-1, 1]: [Q, N, R, 1, H] by replicate and half, and [K, N]."""
    cohort, count = result.cohort, len(result.cohort)
    mean, spread = cohort.mean(0), _replace_zeros(cohort.std(0, ddof=1))
    replicates = result.cells.mean(3)  # [Q, N, R, H]
    z = (replicates - mean[:, None, None]) / spread[:, None, None]
    cells = np.moveaxis(_rank(np.moveaxis(z, 1, -1)), -1, 1)
    rest = (cohort.sum(0) - cohort) / (count - 1)
    others = np.stack([np.delete(cohort, k, 0).std(0, ddof=1) if count > 2 else spread for k in range(count)])
    return cells[:, :, :, None, :], _rank((cohort - rest) / _replace_zeros(others))


def _rank(scores: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 = largest ... -1 = smallest."""
    return 1 - 2 * (rank_scores(scores) - 1) / max(1, scores.shape[-1] - 1)


def _replace_zeros(values: np.ndarray) -> np.ndarray:
    """Replace spreads near zero by 1."""
    return np.where(values > 1e-300, values, 1.0)
