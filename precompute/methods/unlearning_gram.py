"""Unlearning without the part that the training tracks have in common: the curvature is that of their own gradients.

With whitened gradients a = F^-1/2 g of training tracks A [n, P], and u of the clip:
    score = u (A'A + lambda I)^-1 a = (u.a - uA' (AA' + lambda I)^-1 A a) / lambda.
The N x N form takes u.a and uA' exactly (unlearning's own products) and the tracks' products with each other from
sketches, whose error then meets the correction alone; the k x k form takes all from sketches, and does not grow with N.

A holds means over the noise bank and is held fixed in the standard error. `leverage` divides a training track's score
by 1 - h, h = a (A'A + lambda I)^-1 a: it is then left out of A, as a decoy always is. It is one factor per track, which
normalisation over the cohort takes out: only raw scores differ.
"""

from __future__ import annotations

import numpy as np

from precompute.common.cache import Arrays
from precompute.gradients.context import Context
from precompute.gradients.sketches import Ridge, score_by_ridge
from precompute.gradients.steps import make_one_step
from precompute.gradients.taps import SketchTap, Tap, load_clip_sketches, make_step_tap
from precompute.methods.base import GradientMethod, MethodResult

MOST_TRACKS = 4096  # training tracks up to which "auto" solves by track


class UnlearningGram(GradientMethod):
    """Gram-corrected unlearning."""

    name = "unlearning-gram"
    label = "Unlearning, Gram-corrected"
    description = "Unlearning that first takes out what the clip shares with many training tracks at once."
    cost = "one gradient a track and draw, shared; a sketch and one solve"

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Sketches; for the N x N form also unlearning's own products."""
        settings = self.settings
        kind = context.choose_track_kind(settings.normalise_timesteps)
        taps: dict[str, Tap] = {"sketches": SketchTap(context, kind, settings.width, settings.seed, whitened=True)}
        if self.is_by_track(context):
            taps["steps"] = make_step_tap(context, make_one_step(context, settings.normalise_timesteps))
        return taps

    def is_by_track(self, context: Context) -> bool:
        """True where the N x N form is used."""
        form = self.settings.form
        return len(context.trained) <= MOST_TRACKS if form == "auto" else form == "tracks"

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Score by a ridge regression on the training tracks."""
        settings, trained = self.settings, context.trained
        tracks = recorded["sketches"]["sketches"].astype(np.float64)  # [N, R, k]
        if self.is_by_track(context):
            ridge = Ridge(tracks[trained].mean(1), settings.damping, "tracks")
            step = make_one_step(context, settings.normalise_timesteps)
            scores = step.arrange_scores(recorded["steps"], context.model, context.queries, context.bank)
            exact = scores.cells.mean(3) / step.scale  # [Q, N, R, H]: u.a
            cells, cohort = remove_common_part(ridge, exact, scores.cohort / step.scale, tracks, trained)
        else:
            ridge = Ridge(tracks[trained].mean(1), settings.damping, "sketch")
            kind = context.choose_clip_kind(settings.normalise_timesteps)
            clips = load_clip_sketches(context, kind, settings.width, settings.seed, whitened=True)
            cells, cohort = score_by_ridge(ridge, clips.stored, clips.cohort, tracks)
        if settings.leverage:
            factor = np.ones(len(tracks))
            factor[trained] /= 1 - ridge.compute_leverage()
            cells, cohort = cells * factor[:, None, None, None], cohort * factor
        return MethodResult(cells, cohort)


def remove_common_part(
    ridge: Ridge, exact: np.ndarray, cohort: np.ndarray, tracks: np.ndarray, trained: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Exact products [Q, N, R, H] and [K, N] of clips and tracks, less what goes through the training tracks.

    `tracks` [N, R, k]: their sketches, of which `ridge` holds the trained rows' means -> [Q, N, R, 1, H], [K, N].
    """
    between = np.einsum("nk,irk->nir", ridge.rows, tracks, optimize=True)  # [n, N, R]
    through = exact[:, trained].mean(2).transpose(0, 2, 1)  # [Q, H, n]: u A'
    weights = ridge.compute_weights(through.reshape(-1, len(trained))).reshape(through.shape)
    shared = np.einsum("qhn,nir->qirh", weights, between, optimize=True)
    cohort_shared = ridge.compute_weights(cohort[:, trained]) @ between.mean(2)
    return ((exact - shared) / ridge.damping)[:, :, :, None, :], (cohort - cohort_shared) / ridge.damping
