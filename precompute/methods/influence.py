"""Influence as a product of gradients: how much a step on the track would have lowered the clip's loss.

Plain: grad L(track) . grad L(clip). Damped: with (F + lambda I)^-1 between them, F the diagonal Fisher information;
this is the influence function of Koh & Liang (2017) with a diagonal curvature. Layers, mask and draws are unlearning's.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.config.methods import InfluenceSettings
from precompute.gradients.context import Context
from precompute.gradients.steps import make_one_step
from precompute.gradients.taps import Tap, WeightedTap, arrange_products, load_inverse_diagonal
from precompute.methods.base import GradientMethod, MethodResult


class Influence(GradientMethod):
    """A track's gradient times the clip's."""

    name = "influence"
    label = "Gradient product"
    description = "How far the model's gradient on the track points the same way as its gradient on the clip."
    cost = "one gradient a track and draw, shared; one product a track"
    has_moments = True

    def __init__(self, settings: InfluenceSettings) -> None:
        super().__init__(settings)
        self.has_moments = not settings.normalise_timesteps

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Products with every clip's gradient."""
        damping = self.settings.damping
        name = ("damped", damping, context.config.fisher) if damping else "plain"
        load_diagonal = partial(load_inverse_diagonal, context, damping)
        return {"products": WeightedTap(context, load_diagonal, name, self.settings.normalise_timesteps)}

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Arrange the products, which are the scores."""
        return MethodResult.without_strata(*arrange_products(recorded["products"]))

    def compute_moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        """Differentiate in forward mode along the clip's gradient, preconditioned."""
        step = make_one_step(context)
        gradient = step.share_directions(context).average_halves(clip) / (step.scale * context.load_inverse_fisher())
        direction = gradient * torch.as_tensor(load_inverse_diagonal(context, self.settings.damping))
        return step.compute_moments(context.model, context.items[[track]], direction, context.bank).numpy()


class DampedInfluence(Influence):
    """A track's gradient times the clip's, with a damped diagonal curvature between them."""

    name = "influence-damped"
    label = "Damped influence"
    description = "The gradient product, weighing each of the model's weights by how little the training loss needs it."
