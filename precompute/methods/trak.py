"""TRAK (Park et al. 2023, arXiv 2303.14186) for a diffusion loss: ridge regression on projected gradients.

phi = projection of the gradient, averaged over draws; score = phi(clip) (Phi'Phi + lambda I)^-1 phi(track), Phi the
rows of the training tracks. lambda is relative to their mean squared length. One checkpoint, as the store scores one.
"""

from __future__ import annotations

import numpy as np

from precompute.common.cache import Arrays
from precompute.gradients.context import Context
from precompute.gradients.sketches import Ridge, score_by_ridge
from precompute.gradients.taps import SketchTap, Tap, load_clip_sketches
from precompute.methods.base import GradientMethod, MethodResult


class Trak(GradientMethod):
    """Projected gradients of the loss, compared by ridge regression."""

    name = "trak"
    label = "TRAK"
    description = (
        "Gradients of track and clip, projected to few numbers and compared after what all tracks share is out."
    )
    cost = "one gradient a track and draw, shared; a projection and one solve"
    objective = "loss"

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Sketches of the tracks' gradients."""
        settings = self.settings
        kind = context.choose_track_kind(settings.normalise_timesteps, self.choose_objective())
        return {"sketches": SketchTap(context, kind, settings.width, settings.seed, whitened=False)}

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Score by a ridge regression on the training tracks."""
        settings = self.settings
        kind = context.choose_clip_kind(settings.normalise_timesteps, self.choose_objective())
        stored, cohort = load_clip_sketches(context, kind, settings.width, settings.seed, whitened=False)
        tracks = recorded["sketches"]["sketches"]  # [N, R, k]
        ridge = Ridge(tracks[context.trained].mean(1), settings.damping)
        result = MethodResult(*score_by_ridge(ridge, stored, cohort, tracks))
        return self.adjust(context, ridge, result, recorded["sketches"]["losses"])

    def choose_objective(self) -> str:
        """The scalar whose gradient is taken, one of `item_gradients.OBJECTIVES`."""
        return self.objective

    def adjust(self, context: Context, ridge: Ridge, result: MethodResult, losses: np.ndarray) -> MethodResult:
        """Scores from those of the ridge regression and the tracks' losses [N, R x S]; here as they are."""
        return result


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

    def choose_objective(self) -> str:
        """The setting `output`."""
        return self.settings.output

    def adjust(self, context: Context, ridge: Ridge, result: MethodResult, losses: np.ndarray) -> MethodResult:
        """Times the tracks' residuals, over their leverage; squared where set so."""
        factor = compute_residuals(losses, self.settings.residual)
        factor[context.trained] /= (1 - ridge.compute_leverage()) ** self.settings.leverage
        cells, cohort = result.cells * factor[:, None, None, None], result.cohort * factor
        return (
            MethodResult(np.square(cells), np.square(cohort)) if self.settings.squared else MethodResult(cells, cohort)
        )


def compute_residuals(losses: np.ndarray, form: str) -> np.ndarray:
    """The model's error on each track, [N], from losses [N, draws].

    "error": root of the mean; "flat": mean over draws of the roots, scaled to length 1 over the draws (the published
    code); "none": 1.
    """
    if form == "none":
        return np.ones(len(losses))
    roots = np.sqrt(losses)
    if form == "error":
        return np.sqrt(losses.mean(1))
    return (roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-8)).mean(1)
