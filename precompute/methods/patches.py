"""Patch similarity on latents: a baseline that looks at no model but the autoencoder. Our reading of non-parametric
attribution by patches (arXiv 2510.14269), for sound.

A patch is all channels of some frames. For each patch of the clip the nearest patch of the track is looked for at any
place; score = -(mean over the clip's patches of the mean squared difference), <= 0. The optimal denoiser of a data set
weighs its patches by such distances. Several lengths of patch count alike.
"""

from __future__ import annotations

import numpy as np
import torch

from precompute.common.progress import progress
from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.model.diffusion import Items


def cut_patches(latents: torch.Tensor, frames: int, length: int, step: int) -> torch.Tensor:
    """Patches of `length` frames, `step` apart, of the first `frames` of [C, F]: [patches, C x length].

    A recording that is shorter than a patch is one patch, its last frame repeated.
    """
    valid = latents[:, :frames]
    if frames < length:
        valid = torch.cat([valid, valid[:, -1:].expand(-1, length - frames)], 1)
    return valid.unfold(1, length, step).permute(1, 0, 2).flatten(1)


def measure_nearest(clip: torch.Tensor, track: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of each of the clip's patches [M, D] to the nearest of the track's [T, D]: [M]."""
    squares = clip.square().sum(1)[:, None] + track.square().sum(1)[None] - 2 * clip @ track.T
    return squares.min(1).values.clamp(min=0) / clip.shape[1]


class Patches(Method):
    """Minus the distance of patches of latents."""

    name = "patches"
    label = "Patch similarity (our reading)"
    description = "How nearly short passages of the clip are found somewhere in the track; it ignores the model."
    cost = "one comparison a clip and track, without the network"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Of all clips and tracks."""
        scores = context.cache_piece("scores", lambda: {"scores": self._compare_all(context)})["scores"]
        return MethodResult.without_noise(scores, len(context.stored))

    def _compare_all(self, context: Context) -> np.ndarray:
        """[Q + K, N] float64."""
        rate = context.model.frame_rate
        lengths = sorted({max(1, round(seconds * rate)) for seconds in self.settings.lengths_s})
        clips = [context.select_clip(kind, row) for kind, row in context.clips]
        scores = np.zeros((len(clips), len(context.items)))
        for length in lengths:
            patches = [_cut(clip, length, max(1, length // 2)) for clip in clips]
            joined, counts = torch.cat(patches), [len(part) for part in patches]
            for row in progress(f"patches of {length} frames", range(len(context.items))):
                nearest = measure_nearest(joined, _cut(context.items[[row]], length, 1)).double()
                scores[:, row] -= [float(part.mean()) for part in nearest.split(counts)]
        return scores / len(lengths)


def _cut(item: Items, length: int, step: int) -> torch.Tensor:
    return cut_patches(item.latents[0], int(item.valid_frames[0]), length, step)
