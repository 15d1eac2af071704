"""The floor: scores drawn at random. What another method is worth is what it has beyond this.

A score depends on the seed, the clip's kind and row among the run's clips, and the track's track_id alone: neither the
order of the tracks nor the other tracks change it.
"""

from __future__ import annotations

import numpy as np

from precompute.common.seeds import derive_seed
from precompute.gradients.context import CLIP_KINDS, Context
from precompute.methods.base import Method, MethodResult


class Random(Method):
    """Standard normal scores."""

    name = "random"
    label = "Random"
    description = "Scores drawn at random: what a method must beat."
    cost = "nothing"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Draw a score for every clip and track."""
        track_ids = np.array([track.track_id for track in context.tracks], dtype=np.uint64)
        scores = [self._draw_row(kind, row, track_ids) for kind, row in context.clips]
        return MethodResult.without_noise(np.stack(scores), len(context.stored))

    def _draw_row(self, kind: str, row: int, track_ids: np.ndarray) -> np.ndarray:
        """[N], by Box and Muller's method from two hashes of each track_id."""
        clip = np.uint64(derive_seed(self.settings.seed * 3 + CLIP_KINDS.index(kind), row))
        with np.errstate(over="ignore"):
            first = _scale_to_unit(_mix(clip) ^ track_ids)
            second = _scale_to_unit(_mix(clip + np.uint64(1 << 40)) ^ track_ids)
        return np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)


def _mix(values: np.ndarray | np.uint64) -> np.ndarray:
    """64-bit values well mixed (the finaliser of SplitMix64; Steele, Lea & Flood 2014)."""
    values = np.atleast_1d(values) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _scale_to_unit(values: np.ndarray) -> np.ndarray:
    """In (0, 1], float64."""
    return ((_mix(values) >> np.uint64(11)).astype(np.float64) + 1) / 2.0**53
