"""LPIPS with the generating model's own activations; our reading of the comparison in arXiv 2506.18312.

Clip and track are noised alike (same t, same eps, the cleaner part of the schedule: at high noise the shared eps makes
all alike), each under its own caption; the outputs of chosen layers are scaled to length 1 over channels; squared
difference, mean over the positions valid in both and over layers; score = -distance, within [-4, 0]. Frame f of the
clip meets frame f of the track; `pooled` compares the averages over time instead.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.methods.passes import score_by_cell
from precompute.model.activations import collect_layer_outputs, count_layers, count_valid_positions
from precompute.model.diffusion import Items, NoiseBank


def choose_layers(layers: int, wanted: int) -> list[int]:
    """`wanted` of the layers 0 .. layers - 1, evenly, the last one among them; all where there are no more."""
    wanted = min(wanted, layers)
    return [(k + 1) * layers // wanted - 1 for k in range(wanted)]


def scale_features(outputs: list[torch.Tensor], valid: int, pooled: bool) -> torch.Tensor:
    """Outputs [D, P, W] of K layers -> [K x D, P or 1, W], of length 1 over W."""
    stacked = torch.cat(outputs)
    if pooled:
        stacked = stacked[:, :valid].mean(1, keepdim=True)
    return F.normalize(stacked, dim=-1)


def measure_distances(clips: torch.Tensor, track: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Features [K, P, Q, W] of Q clips and [K, P, W] of a track -> [Q]: mean squared difference, K and positions alike.

    `valid` [Q]: how many positions count, from the first. Of vectors of length 1: |a - b|^2 = 2 - 2 <a, b>.
    """
    apart = 2 - 2 * (clips @ track[..., None])[..., 0].double().mean(0)  # [P, Q]
    upto = apart.cumsum(0).gather(0, valid[None].to(apart.device) - 1)[0]
    return (upto / valid.to(apart.device)).clamp(min=0)


class Lpips(Method):
    """Minus the distance of activations."""

    name = "lpips"
    label = "Activations (LPIPS, our reading)"
    description = "How alike the generating model's inner activations are for clip and track under the same noise."
    cost = "one forward pass a draw and recording"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Cell by cell of a bank of its own."""
        result = score_by_cell(context, self._make_bank(context), "LPIPS", self._score_cell)
        return replace(result, cells=result.cells.mean(3, keepdims=True))  # its strata are not the run's: stored as one

    def _make_bank(self, context: Context) -> NoiseBank:
        return NoiseBank(context.bank.replicates, self.settings.strata, context.bank.draws_per_cell, context.bank.seed)

    def _score_cell(self, context: Context, t: torch.Tensor, eps: torch.Tensor) -> np.ndarray:
        """Scores of all clips [Q + K, N] under the draws of one cell, moved to the cleaner part."""
        model, pooled = context.model, self.settings.pooled
        layers = choose_layers(count_layers(model), self.settings.layers)

        def extract(item: Items) -> tuple[torch.Tensor, int]:
            valid = count_valid_positions(model, int(item.valid_frames[0]))
            outputs = collect_layer_outputs(model, item, t * self.settings.cleaner, eps, layers)
            return scale_features(outputs, valid, pooled), 1 if pooled else valid

        one_by_one = [extract(context.select_clip(*clip)) for clip in context.clips]
        clips = torch.stack([features for features, _ in one_by_one], dim=2)
        lengths = torch.tensor([valid for _, valid in one_by_one])
        del one_by_one
        out = np.empty((len(lengths), len(context.items)))
        for row in range(len(context.items)):
            track, valid = extract(context.items[[row]])
            out[:, row] = -measure_distances(clips, track, lengths.clamp(max=valid)).cpu().numpy()
        return out
