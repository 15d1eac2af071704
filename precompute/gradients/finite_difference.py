"""The naive twin of unlearning's scores: step the weights, subtract losses; its rank correlation with those scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from precompute.config.run import UnlearningSection
from precompute.gradients.steps import count_scored_frames
from precompute.gradients.weights import add_to_weights, measure_length, restored_weights
from precompute.model.diffusion import Items, Model, NoiseBank
from precompute.significance.ranks import correlate_with_property

RELATIVE_STEPS = (1e-5, 1e-4)  # one that is too small drowns in rounding, one that is too large in curvature


def correlate_ranks(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two vectors."""
    return correlate_with_property(one[None], other)


@torch.no_grad()
def compute_bank_loss(model: Model, track: Items, section: UnlearningSection, bank: NoiseBank) -> float:
    """Loss of one track over the whole bank; float32 network, float64 mean."""
    condition = model.condition(track)
    frames = count_scored_frames(section, int(track.valid_frames[0]))
    total = 0.0
    for cell in bank.cells():
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        own = bank.select_condition(condition, [cell])
        total += float(model.frame_loss(track.latents[0], own, t, eps)[:, :frames].double().mean())
    return total / len(bank.cells())


def compute_bank_losses(model: Model, tracks: Items, section: UnlearningSection, bank: NoiseBank) -> list[float]:
    """`compute_bank_loss` of each track."""
    return [compute_bank_loss(model, tracks[[i]], section, bank) for i in range(len(tracks))]


def subtract_losses(
    model: Model,
    tracks: Items,
    direction: torch.Tensor,
    section: UnlearningSection,
    bank: NoiseBank,
    relative_step: float = RELATIVE_STEPS[0],
    before: Sequence[float] = (),
) -> torch.Tensor:
    """Finite difference, the paper's own way: step the weights, subtract the losses -> [N] float64.

    Per unit of `direction` [P]: the step is rescaled to ||change|| / ||weights|| = `relative_step` and the difference
    divided by the same factor: below 1e-6 rounding drowns it, above 1e-3 curvature bends it. `before`: the tracks'
    losses at the weights as they are, where known. The weights are put back exactly.
    """
    parameters = model.parameters(section.layers)
    factor = float(relative_step * measure_length(parameters) / direction.double().norm())
    before = before or compute_bank_losses(model, tracks, section, bank)
    with restored_weights(parameters):
        add_to_weights(parameters, direction, factor)
        after = compute_bank_losses(model, tracks, section, bank)
    return (torch.tensor(after, dtype=torch.float64) - torch.tensor(before, dtype=torch.float64)) / factor


def audit_clip(
    model: Model,
    tracks: Items,
    direction: torch.Tensor,
    scores: np.ndarray,
    section: UnlearningSection,
    bank: NoiseBank,
    relative_steps: Sequence[float] = RELATIVE_STEPS,
) -> list[float]:
    """Rank correlation of scores [N] with finite differences at each relative step, for one clip's direction [P]."""
    before = compute_bank_losses(model, tracks, section, bank)
    return [
        correlate_ranks(scores, subtract_losses(model, tracks, direction, section, bank, step, before).numpy())
        for step in relative_steps
    ]
