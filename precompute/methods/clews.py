"""CLEWS: how near clip and track are as versions of one work (arXiv 2502.16936).

Mono at 16 kHz, overlapping windows, an embedding each (`precompute/model/clews.py`); distance of two windows: squared
Euclidean / dimension; of two recordings: mean of the n best pairs, no window used twice; score = -distance. It hears
melody and harmony whatever the sound, and knows nothing of the generating model: similarity, not influence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.methods.embeddings import collect_embeddings, hash_source, select_windows
from precompute.model.clews import average_best_pairs, compute_distances, load_clews


class ClewsSimilarity(Method):
    """Minus the distance in a version matcher's space."""

    name = "clews"
    label = "CLEWS similarity"
    description = "How alike clip and track are as versions of one work, whatever plays them; it ignores the model."
    cost = "one embedding a window of sound"
    needs = "a CLEWS checkpoint ([methods.clews] checkpoint)"

    def find_obstacle(self, context: Context) -> str | None:
        """The checkpoint is not there."""
        path = Path(self.settings.checkpoint)
        if not path.is_file():
            return f"its checkpoint is not there: {path} ([methods.clews] checkpoint; `train-clews` makes a small one)"
        return None

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Minus the distances of all clips and tracks."""
        digest = hash_source(self.settings.checkpoint)
        embeddings = context.cache_piece(f"embeddings-{digest}", lambda: self._embed_all(context))
        clips = [select_windows(embeddings, context, *clip) for clip in context.clips]
        near = -np.stack([self._measure_distances(clip, embeddings) for clip in clips])
        return MethodResult.without_noise(near, len(context.stored))

    def _embed_all(self, context: Context) -> Arrays:
        network = load_clews(Path(self.settings.checkpoint), str(context.model.device))
        rate, hop_s = network.shape.sample_rate, self.settings.hop_s
        return collect_embeddings(context, lambda wave: network.embed_recording(wave, hop_s), rate, "CLEWS")

    def _measure_distances(self, clip: np.ndarray, embeddings: Arrays) -> np.ndarray:
        """Windows [W, E] of a clip -> its distance to each track, [N]; tracks with as many windows at once."""
        counts = embeddings["tracks_windows"]
        starts = np.cumsum(counts) - counts
        out = np.empty(len(counts))
        one = torch.from_numpy(clip).double()
        for windows in np.unique(counts):
            rows = np.flatnonzero(counts == windows)
            index = starts[rows][:, None] + np.arange(windows)
            between = compute_distances(one, torch.from_numpy(embeddings["tracks"][index]).double())
            out[rows] = average_best_pairs(between, self.settings.pairs).numpy()
        return out
