"""A product of gradients of length 1, after TrackStar (Chang et al. 2024, arXiv 2410.17413).

phi = projection of the loss gradient, divided by the root of its second moment (here the diagonal Fisher; there the
optimiser's); what all training tracks share is taken out by R^-1/2, R = Phi'Phi + lambda I; then both sides are scaled
to length 1: score = phi(clip) R^-1 phi(track) / (|R^-1/2 phi(clip)| |R^-1/2 phi(track)|), within [-1, 1] up to noise.
A training track leaves itself out of R, so that it is treated as a decoy is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from precompute.common.cache import Arrays
from precompute.gradients.context import Context
from precompute.gradients.flat_vectors import TINY
from precompute.gradients.sketches import TrackRidge, TrackRows
from precompute.gradients.taps import ClipSketches, SketchTap, Tap, load_clip_sketches
from precompute.methods.base import MethodResult
from precompute.methods.trak import Trak


class TrackStar(Trak):
    """Whitened, decorrelated gradients of length 1."""

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
        of_tracks = measure_lengths(ridge, tracks, context.trained)
        cells = ridge.score_halves(clips.stored, tracks) / of_tracks[:, None, None, None]
        cells /= _measure_clip_lengths(ridge, clips.stored.mean(1))[:, None, None, None, None]
        cohort = ridge.score(clips.cohort, tracks) / of_tracks
        return MethodResult(cells, cohort / _measure_clip_lengths(ridge, clips.cohort)[:, None])


def measure_lengths(ridge: TrackRidge, tracks: TrackRows, trained: Sequence[int]) -> np.ndarray:
    """|R^-1/2 phi| of all tracks, [N], a training track left out of its own R."""
    lengths = np.empty(tracks.shape[0])
    for row in range(tracks.shape[0]):
        phi = tracks[row : row + 1].mean(1).astype(np.float64)
        lengths[row] = (ridge.ridge.solve(phi) * phi).sum()
    lengths[list(trained)] *= ridge.factor[list(trained)]  # h / (1 - h)
    return np.sqrt(np.maximum(lengths, TINY))


def _measure_clip_lengths(ridge: TrackRidge, clips: np.ndarray) -> np.ndarray:
    """|R^-1/2 phi| of clips [m, k]: [m]."""
    return np.sqrt(np.maximum((ridge.ridge.solve(clips) * clips).sum(1), TINY))
