"""Rank average of other methods: what they agree on, without any one's scale.

Each method's scores are first put in units of a track's own spread over the cohort (else a method whose raw scores
always put the same tracks on top would count for little but that), then replaced by ranks within the clip, from -1
(last) to 1 (first), and averaged. A clip of the cohort is measured by the rest of the cohort.
"""

from __future__ import annotations

import numpy as np

from precompute.methods.base import Context, Method, MethodResult
from precompute.significance.ranks import rank_scores


class Ensemble(Method):
    """The mean of ranks."""

    name = "ensemble"
    label = "Ensemble"
    description = "The mean of the ranks that several methods give a track."
    cost = "nothing beyond the methods it averages"
    needs = "at least two other methods in the same run"

    def builds_on(self, name: str) -> bool:
        return name in self.settings.of if self.settings.of else name not in ("ensemble", "random")

    def requirements(self, context: Context) -> str | None:
        present = [name for name in context.config.methods.run if self.builds_on(name)]
        missing = [name for name in self.settings.of if name not in present]
        if missing:
            return f"[methods.ensemble] of names {missing[0]!r}, which [methods] run does not"
        return None if len(present) > 1 else "it averages at least two methods; name more in [methods] run"

    def scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        cells, cohort = zip(*(averaged(result) for result in others.values()), strict=True)
        replicates = max(part.shape[2] for part in cells)
        halves = max(part.shape[4] for part in cells)
        shape = (*cells[0].shape[:2], replicates, 1, halves)
        return MethodResult(np.mean([np.broadcast_to(p, shape) for p in cells], 0), np.mean(cohort, 0))


def averaged(result: MethodResult) -> tuple[np.ndarray, np.ndarray]:
    """One method's scores as ranks in [-1, 1]: [Q, N, R, 1, H] by replicate and half, and [K, N]."""
    usual, count = result.cohort, len(result.cohort)
    mean, spread = usual.mean(0), _positive(usual.std(0, ddof=1))
    replicates = result.cells.mean(3)  # [Q, N, R, H]
    z = (replicates - mean[:, None, None]) / spread[:, None, None]
    cells = np.moveaxis(_places(np.moveaxis(z, 1, -1)), -1, 1)
    rest = (usual.sum(0) - usual) / (count - 1)
    others = np.stack([np.delete(usual, k, 0).std(0, ddof=1) if count > 2 else spread for k in range(count)])
    return cells[:, :, :, None, :], _places((usual - rest) / _positive(others))


def _places(scores: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 = largest ... -1 = smallest."""
    return 1 - 2 * (rank_scores(scores) - 1) / max(1, scores.shape[-1] - 1)


def _positive(values: np.ndarray) -> np.ndarray:
    """What never varies is left as it is."""
    return np.where(values > 1e-300, values, 1.0)
