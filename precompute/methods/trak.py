"""TRAK (Park et al. 2023, arXiv 2303.14186) for a diffusion loss: ridge regression on projected gradients.

phi = projection of the gradient, averaged over draws; score = phi(clip) (Phi'Phi + lambda I)^-1 phi(track), Phi the
rows of the training tracks. lambda is relative to their mean squared length. One checkpoint, as the store scores one.
A training track leaves itself out of Phi, so that it is treated as a decoy is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.gradients.context import Context
from precompute.gradients.sketches import Ridge, TrackRidge
from precompute.gradients.steps import make_one_step
from precompute.gradients.taps import ClipSketches, SketchTap, Tap, load_clip_sketches, share_sketch
from precompute.methods.base import GradientMethod, MethodResult
from precompute.model.diffusion import Items


class Trak(GradientMethod):
    """Projected gradients of the loss, compared by ridge regression."""

    name = "trak"
    label = "TRAK"
    description = (
        "Gradients of track and clip, projected to few numbers and compared after what all tracks share is out."
    )
    cost = "one gradient a track and draw, shared; a projection and one solve"
    objective = "loss"
    leaves_itself_out = True  # a training track, of the ridge
    version = 2

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.has_moments = self.leaves_itself_out and not settings.normalise_timesteps

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Sketches of the tracks' gradients."""
        settings = self.settings
        kind = context.choose_track_kind(settings.normalise_timesteps, self.choose_objective())
        return {"sketches": SketchTap(context, kind, settings.width, settings.seed, whitened=False)}

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Score by a ridge regression on the training tracks."""
        clips, tracks = self.load_clips(context), recorded["sketches"]["sketches"]  # [N, R, k]
        ridge = self.share_ridge(context, lambda: tracks)
        windows = ridge.score_windows(clips.windows, tracks) if self.has_moments else None
        result = MethodResult(ridge.score_halves(clips.stored, tracks), ridge.score(clips.cohort, tracks), windows)
        return self.adjust(context, ridge.ridge, result, recorded["sketches"]["losses"])

    def load_clips(self, context: Context) -> ClipSketches:
        """Sketches of the clips' gradients."""
        settings = self.settings
        kind = context.choose_clip_kind(settings.normalise_timesteps, self.choose_objective())
        return load_clip_sketches(context, kind, settings.width, settings.seed, whitened=False)

    def share_ridge(self, context: Context, load_tracks: Callable[[], np.ndarray]) -> TrackRidge:
        """The ridge regression on the training tracks, from sketches [N, R, k]; made once."""

        def fit() -> TrackRidge:
            return TrackRidge.fit(load_tracks(), context.trained, self.settings.damping, self.leaves_itself_out)

        return context.make_once(f"ridge-{context.method_key}", fit)

    def compute_moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        """Differentiate in forward mode along the clip's direction."""
        ridge = self.share_ridge(context, lambda: self.gather_records(context)["sketches"]["sketches"])
        name = f"direction-{context.method_key}-{clip}"
        direction = context.make_once(name, lambda: self.expand(context, ridge, self.load_clips(context).stored[clip]))
        return self.differentiate(context, direction, context.items[[track]]) * ridge.factor[track]

    def expand(self, context: Context, ridge: TrackRidge, halves: np.ndarray) -> torch.Tensor:
        """A clip's direction in weight space [P], from its sketches by half [H, k]: solved, then expanded.

        Its product with a track's gradient is the track's score by the ridge that holds all training tracks.
        """
        solved = torch.from_numpy(ridge.ridge.solve(halves.mean(0, keepdims=True))).float()
        return share_sketch(context, self.settings.width, self.settings.seed).expand(solved)[0]

    def differentiate(self, context: Context, direction: torch.Tensor, track: Items) -> np.ndarray:
        """Rise of a track's objective along a direction [P], frame by frame: [F]."""
        step = make_one_step(context, objective=self.choose_objective())
        return step.compute_moments(context.model, track, direction, context.bank).numpy()

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
        "Which recordings shaped how the model makes this clip: gradients of its output, less what all tracks share."
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
    leaves_itself_out = False  # the leverage below does so

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


class TrackStar(Trak):
    """Gradients of the same direction, whatever their length, after TrackStar (Chang et al. 2024, arXiv 2410.17413).

    phi = projection of the loss gradient, divided by the root of its second moment (here the diagonal Fisher; there the
    optimiser's); score = phi(clip) G phi(track) / sqrt(phi(clip) G phi(clip) phi(track) G phi(track)) with G =
    (Phi'Phi + lambda I)^-1, which for a training track is without itself. Within [-1, 1] up to the draws' noise.
    """

    name = "trackstar"
    label = "TrackStar"
    description = "How far the gradients of track and clip point the same way, whatever their length."
    cost = "one gradient a track and draw, shared; a projection and one solve"
    version = 1

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.has_moments = False  # a track's length is of all its frames

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Sketches of the tracks' whitened gradients."""
        kind = context.choose_track_kind(self.settings.normalise_timesteps)
        return {"sketches": SketchTap(context, kind, self.settings.width, self.settings.seed, whitened=True)}

    def load_clips(self, context: Context) -> ClipSketches:
        """Sketches of the clips' whitened gradients."""
        kind = context.choose_clip_kind(self.settings.normalise_timesteps)
        return load_clip_sketches(context, kind, self.settings.width, self.settings.seed, whitened=True)

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Score as TRAK does, then scale both sides."""
        clips, tracks = self.load_clips(context), recorded["sketches"]["sketches"]
        ridge = self.share_ridge(context, lambda: tracks)
        of_tracks = ridge.measure_lengths(tracks, context.trained)
        cells = ridge.score_halves(clips.stored, tracks) / of_tracks[:, None, None, None]
        cells /= ridge.ridge.measure_lengths(clips.stored.mean(1))[:, None, None, None, None]
        cohort = ridge.score(clips.cohort, tracks) / of_tracks
        return MethodResult(cells, cohort / ridge.ridge.measure_lengths(clips.cohort)[:, None])


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
