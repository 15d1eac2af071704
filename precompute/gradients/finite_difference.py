"""The naive twin beside the fast way: rank correlation of scores with plain loss differences (way (a))."""

from __future__ import annotations

import numpy as np
import torch

from precompute.config.run import UnlearningSection
from precompute.gradients.fisher import unflatten
from precompute.methods.unlearning import scored_frames
from precompute.model.diffusion import Items, Model, NoiseBank
from precompute.significance.ranks import correlate_with_property


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two vectors."""
    return correlate_with_property(one[None], other)


@torch.no_grad()
def bank_loss(model: Model, track: Items, section: UnlearningSection, bank: NoiseBank) -> float:
    """Loss of one track over the whole bank; fp32 network, fp64 mean."""
    condition = model.condition(track)
    frames = scored_frames(section, int(track.valid_frames[0]))
    total = 0.0
    for cell in bank.cells():
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        total += float(model.frame_loss(track.latents[0], condition, t, eps)[:, :frames].double().mean())
    return total / len(bank.cells())


def losses_of(model: Model, tracks: Items, section: UnlearningSection, bank: NoiseBank) -> list[float]:
    """`bank_loss` of each."""
    return [bank_loss(model, tracks[[i]], section, bank) for i in range(len(tracks))]


def finite_difference(
    model: Model,
    tracks: Items,
    direction: torch.Tensor,
    section: UnlearningSection,
    bank: NoiseBank,
    relative_step: float = 1e-5,
    before: list[float] | None = None,
) -> torch.Tensor:
    """Way (a), the paper's own: step the weights, subtract the losses -> [N] float64, per unit of `direction` [P].

    The step is rescaled to ||change|| / ||weights|| = `relative_step` and the difference divided by the same factor:
    below 1e-6 rounding drowns it, above 1e-3 curvature bends it. `before`: the tracks' losses at the weights as they
    are, where known. The weights are put back exactly.
    """
    parameters = model.parameters(section.layers)
    norm = torch.sqrt(sum(p.detach().double().square().sum() for p in parameters.values()))
    factor = float(relative_step * norm / direction.double().norm())
    before = before or losses_of(model, tracks, section, bank)
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    try:
        with torch.no_grad():
            for name, change in unflatten(direction, parameters).items():
                parameters[name].add_(change.to(model.device), alpha=factor)
        after = losses_of(model, tracks, section, bank)
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)
    return (torch.tensor(after, dtype=torch.float64) - torch.tensor(before, dtype=torch.float64)) / factor


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
    before = losses_of(model, tracks, section, bank)
    found = [finite_difference(model, tracks, direction, section, bank, s, before).numpy() for s in relative_steps]
    return [spearman(fast, twin) for twin in found]
