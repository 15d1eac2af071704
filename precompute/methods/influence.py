"""Influence as a product of gradients: how much a step on the track would have lowered the clip's loss.

Plain: grad L(track) . grad L(clip). Damped: with (F + lambda I)^-1 between them, F the diagonal Fisher information;
this is the influence function of Koh & Liang (2017) with a diagonal curvature. Layers, mask and draws are unlearning's.
"""

from __future__ import annotations

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.gradients.directions import Tap
from precompute.methods.base import Context, GradientMethod, MethodResult
from precompute.methods.taps import ProductTap, clip_directions, diagonal_inverse, linear_result, one_step, products


class Influence(GradientMethod):
    """A track's gradient times the clip's."""

    name = "influence"
    label = "Gradient product"
    description = "How far the model's gradient on the track points the same way as its gradient on the clip."
    cost = "one gradient a track and draw, shared; one product a track"
    has_moments = True

    def __init__(self, settings) -> None:
        super().__init__(settings)
        self.has_moments = not settings.normalise_timesteps

    def taps(self, context: Context) -> dict[str, Tap]:
        damping = self.settings.damping
        name = ("damped", damping, context.config.fisher) if damping else "plain"
        diagonal = lambda: diagonal_inverse(context, damping)  # noqa: E731
        return {"products": ProductTap(context, diagonal, name, self.settings.normalise_timesteps)}

    def combine(self, context: Context, kept: dict[str, Arrays]) -> MethodResult:
        return linear_result(*products(context, kept["products"]))

    def moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        method = one_step(context, False)
        step = clip_directions(context, False).whole(clip) / (method.scale * context.inverse_fisher())
        direction = step * torch.as_tensor(diagonal_inverse(context, self.settings.damping))
        return method.rise(context.model, context.items[[track]], direction, context.bank).numpy()


class DampedInfluence(Influence):
    """The same with a damped diagonal curvature."""

    name = "influence-damped"
    label = "Damped influence"
    description = "The gradient product, weighing each of the model's weights by how little the training loss needs it."
