"""The naive twin beside the fast way: rank correlation of scores with plain loss differences (way (a))."""

from __future__ import annotations

import numpy as np
import torch

from precompute.calibrate import correlation_with
from precompute.config import UnlearningSection
from precompute.methods.unlearning import finite_difference
from precompute.model import Items, Model, NoiseBank


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two vectors."""
    return correlation_with(one[None], other)


def audit_clip(
    model: Model,
    tracks: Items,
    direction: torch.Tensor,
    fast: np.ndarray,
    section: UnlearningSection,
    bank: NoiseBank,
    relative_steps: tuple[float, ...] = (1e-5, 1e-4),
) -> list[float]:
    """Spearman correlation of fast scores [N] with differences at each relative step, for one clip's direction [P].

    Two steps, because a step that is too small drowns in rounding and one that is too large in curvature.
    """
    found = [finite_difference(model, tracks, direction, section, bank, step).numpy() for step in relative_steps]
    return [spearman(fast, twin) for twin in found]
