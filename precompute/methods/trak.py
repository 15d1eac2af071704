"""TRAK (Park et al. 2023, arXiv 2303.14186) for a diffusion loss: ridge regression on projected gradients.

phi = projection of the gradient, averaged over draws; score = phi(clip) (Phi'Phi + lambda I)^-1 phi(track), Phi the
rows of the training tracks. lambda is relative to their mean squared length. One checkpoint, as the store scores one.
"""

from __future__ import annotations

import numpy as np

from precompute.common.cache import Arrays
from precompute.gradients.directions import Tap
from precompute.gradients.sketches import Ridge, ridge_scores
from precompute.methods.base import Context, GradientMethod, MethodResult
from precompute.methods.taps import SketchTap, clip_kind, clip_sketches, track_kind


class Trak(GradientMethod):
    """Gradients of the loss."""

    name = "trak"
    label = "TRAK"
    description = (
        "Gradients of track and clip, projected to few numbers and compared after what all tracks share is out."
    )
    cost = "one gradient a track and draw, shared; a projection and one solve"
    objective = "loss"

    def taps(self, context: Context) -> dict[str, Tap]:
        settings = self.settings
        kind = track_kind(context, settings.normalise_timesteps, self.differentiated())
        return {"sketches": SketchTap(context, kind, settings.width, settings.seed, whitened=False)}

    def combine(self, context: Context, kept: dict[str, Arrays]) -> MethodResult:
        settings = self.settings
        kind = clip_kind(context, settings.normalise_timesteps, self.differentiated())
        stored, cohort = clip_sketches(context, kind, settings.width, settings.seed, whitened=False)
        tracks = kept["sketches"]["sketches"]  # [N, R, k]
        ridge = Ridge(tracks[context.trained].mean(1), settings.damping)
        cells, usual = ridge_scores(ridge, stored, cohort, tracks)
        return self.finished(context, ridge, cells, usual, kept["sketches"]["losses"])

    def differentiated(self) -> str:
        """What the gradient is of, as `gradients.OBJECTIVES` has it."""
        return self.objective

    def finished(
        self, context: Context, ridge: Ridge, cells: np.ndarray, cohort: np.ndarray, losses: np.ndarray
    ) -> MethodResult:
        """From ridge scores [Q, N, R, 1, H] and [K, N] and losses [N, R x S]."""
        return MethodResult(cells, cohort)


class DTrak(Trak):
    """D-TRAK (Zheng et al. 2024, arXiv 2311.00500): gradients of the squared output in place of the loss."""

    name = "dtrak"
    label = "D-TRAK"
    description = (
        "TRAK with gradients of the model's output itself, which found influence better than those of its loss."
    )
    cost = "one further gradient a track and draw; a projection and one solve"
    objective = "square"


class Das(Trak):
    """DAS (Lin et al. 2025, arXiv 2410.18639): the projected product, times the track's residual / (1 - leverage).

    The leverage h of a training track is its own a (A'A + lambda I)^-1 a; dividing by 1 - h is leaving the track itself
    out of A. A decoy is not in A, so that nothing is to be divided there.
    """

    name = "das"
    label = "DAS"
    description = (
        "How far the model's output for the clip would move without the track: its error there, over its leverage."
    )
    cost = "one further gradient a track and draw; a projection and one solve"

    def differentiated(self) -> str:
        return self.settings.output

    def finished(
        self, context: Context, ridge: Ridge, cells: np.ndarray, cohort: np.ndarray, losses: np.ndarray
    ) -> MethodResult:
        factor = residuals(losses, self.settings.residual)
        factor[context.trained] /= (1 - ridge.leverage()) ** self.settings.leverage
        cells, cohort = cells * factor[:, None, None, None], cohort * factor
        return (
            MethodResult(np.square(cells), np.square(cohort)) if self.settings.squared else MethodResult(cells, cohort)
        )


def residuals(losses: np.ndarray, form: str) -> np.ndarray:
    """How wrong the model is on each track, [N], from losses [N, draws].

    "error": root of the mean; "flat": mean over draws of the roots, scaled to length 1 over the draws (the published
    code); "none": 1.
    """
    if form == "none":
        return np.ones(len(losses))
    roots = np.sqrt(losses)
    if form == "error":
        return np.sqrt(losses.mean(1))
    return (roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-8)).mean(1)
