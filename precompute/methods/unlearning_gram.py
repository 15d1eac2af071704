"""Unlearning with what the training tracks have in common taken out: the curvature is that of their own gradients.

With whitened gradients a = F^-1/2 g of training tracks A [n, P], and u of the clip:
    score = u (A'A + lambda I)^-1 a = (u.a - uA' (AA' + lambda I)^-1 A a) / lambda.
The N x N form takes u.a and uA' exactly (unlearning's own products) and the tracks' products with each other from
sketches, whose error then meets the correction alone; the k x k form takes all from sketches, and does not grow with N.

A holds means over the noise bank and is held fixed in the standard error. `leverage` divides a training track's score
by 1 - h, h = a (A'A + lambda I)^-1 a: it is then left out of A, as a decoy always is. It is one factor a track, which
normalisation over the cohort takes out: only raw scores differ.
"""

from __future__ import annotations

import numpy as np

from precompute.common.cache import Arrays
from precompute.gradients.directions import Tap
from precompute.gradients.sketches import Ridge, ridge_scores
from precompute.methods.base import Context, GradientMethod, MethodResult
from precompute.methods.taps import SketchTap, clip_kind, clip_sketches, one_step, track_kind

MOST = 4096  # training tracks up to which "auto" solves by track


class UnlearningGram(GradientMethod):
    """Gram-corrected unlearning."""

    name = "unlearning-gram"
    label = "Unlearning, Gram-corrected"
    description = "Unlearning that first takes out what the clip shares with many training tracks at once."
    cost = "one gradient a track and draw, shared; a sketch and one solve"

    def taps(self, context: Context) -> dict[str, Tap]:
        settings = self.settings
        kind = track_kind(context, settings.normalise_timesteps)
        found: dict[str, Tap] = {"sketches": SketchTap(context, kind, settings.width, settings.seed, whitened=True)}
        if self.by_track(context):
            found["steps"] = one_step(context, settings.normalise_timesteps).tap(context)
        return found

    def by_track(self, context: Context) -> bool:
        """Whether the N x N form is used."""
        form = self.settings.form
        return len(context.trained) <= MOST if form == "auto" else form == "tracks"

    def combine(self, context: Context, kept: dict[str, Arrays]) -> MethodResult:
        settings, trained = self.settings, context.trained
        tracks = kept["sketches"]["sketches"].astype(np.float64)  # [N, R, k]
        if self.by_track(context):
            ridge = Ridge(tracks[trained].mean(1), settings.damping, "tracks")
            method = one_step(context, settings.normalise_timesteps)
            steps = method.assembled(kept["steps"], context.model, context.queries, context.bank)
            exact = steps.cells.mean(3) / method.scale  # [Q, N, R, H]: u.a
            usual = steps.cohort / method.scale
            cells, cohort = corrected(ridge, exact, usual, tracks, trained)
        else:
            ridge = Ridge(tracks[trained].mean(1), settings.damping, "sketch")
            kind = clip_kind(context, settings.normalise_timesteps)
            clips = clip_sketches(context, kind, settings.width, settings.seed, whitened=True)
            cells, cohort = ridge_scores(ridge, *clips, tracks)
        if settings.leverage:
            factor = np.ones(len(tracks))
            factor[trained] /= 1 - ridge.leverage()
            cells, cohort = cells * factor[:, None, None, None], cohort * factor
        return MethodResult(cells, cohort)


def corrected(
    ridge: Ridge, exact: np.ndarray, usual: np.ndarray, tracks: np.ndarray, trained: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Exact products [Q, N, R, H] and [K, N] of clips and tracks, less what goes through the training tracks.

    `tracks` [N, R, k]: their sketches, of which `ridge` holds the trained rows' means -> [Q, N, R, 1, H], [K, N].
    """
    between = np.einsum("nk,irk->nir", ridge.rows, tracks, optimize=True)  # [n, N, R]
    through = exact[:, trained].mean(2).transpose(0, 2, 1)  # [Q, H, n]: u A'
    weights = ridge.weights(through.reshape(-1, len(trained))).reshape(through.shape)
    shared = np.einsum("qhn,nir->qirh", weights, between, optimize=True)
    usual_shared = ridge.weights(usual[:, trained]) @ between.mean(2)
    return ((exact - shared) / ridge.damping)[:, :, :, None, :], (usual - usual_shared) / ridge.damping
