"""Rank average of other methods: what they agree on, without any one's scale.

Each method's scores are first put in units of a track's own spread over the cohort (else a method whose raw scores
always put the same tracks on top would count for little but that), then replaced by ranks within the clip, from -1
(last) to 1 (first), and averaged. A clip of the cohort is measured by the rest of the cohort.
"""

from __future__ import annotations

import numpy as np

from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.significance.normalisation import Normalisation
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
    normalisation = Normalisation.fit(result.cohort)
    replicates = normalisation.apply(np.moveaxis(result.cells.mean(3), 1, -1))  # [Q, R, H, N]
    return np.moveaxis(_rank(replicates), -1, 1)[:, :, :, None, :], _rank(normalisation.cohort)


def _rank(scores: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 = largest ... -1 = smallest."""
    return 1 - 2 * (rank_scores(scores) - 1) / max(1, scores.shape[-1] - 1)
