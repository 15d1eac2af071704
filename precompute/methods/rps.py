"""Representer points at the output layer; our reading of the comparison in arXiv 2506.18312 (after arXiv 1811.09720).

`rps`: <dL_track/dW, dL_clip/dW> at the transformer's last linear map W, that is the mean over draws of
sum over f, f' of <h_f, h'_f'> <g_f, g'_f'>, valid frames; h: inputs of W, g: gradients at its outputs, of each item's
own mean loss under the same draws.

`rps-ridge`: the map from h to the network's answer refitted in closed form on the training tracks,
W* = argmin mean L(W) + lambda |W|^2, so that W* = sum of alpha h^T with alpha = -g / (2 lambda n) (representer theorem;
n: tracks x draws); score = how far a track's part of W* lowers the clip's loss, to first order, under the same draws:
<alpha h^T, -dL_clip/dW>.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.common.parallel import run_jobs
from precompute.gradients.context import Context
from precompute.methods.base import Method, MethodResult
from precompute.methods.passes import count_model_workers, score_by_cell
from precompute.model.activations import collect_output_layer, collect_output_targets, count_valid_positions
from precompute.model.diffusion import Items

SHARD = 16  # tracks


def multiply_gradients(clips: torch.Tensor, track: torch.Tensor) -> np.ndarray:
    """Gradients [Q, D, C, W] and [D, C, W] -> mean over draws of their inner products, [Q] float64."""
    return (clips.flatten(2) * track.flatten(1)).sum(-1).double().mean(1).cpu().numpy()


@dataclass(frozen=True)
class RidgeSums:
    """Sums that a ridge regression needs, over any number of items; float64."""

    features: torch.Tensor  # [W, W]: mean over an item's valid positions of h h^T / C, summed over items and draws
    answers: torch.Tensor  # [C, W]: the same of y h^T
    count: int  # n: items x draws

    @classmethod
    def collect(cls, h: torch.Tensor, y: torch.Tensor) -> RidgeSums:
        """From the valid positions h [D, P, W], y [D, P, C] of one item."""
        h, y = h.double().cpu(), y.double().cpu()
        share = h.shape[1] * y.shape[2]  # positions x channels: a loss is their mean
        flat = h.flatten(0, 1)
        return cls(flat.T @ flat / share, y.flatten(0, 1).T @ flat / share, len(h))

    def __add__(self, other: RidgeSums) -> RidgeSums:
        return RidgeSums(self.features + other.features, self.answers + other.answers, self.count + other.count)

    def solve(self, ridge: float) -> tuple[torch.Tensor, float]:
        """W* [C, W] and lambda = `ridge` x mean diagonal of the mean features."""
        features = self.features / self.count
        penalty = ridge * float(features.diagonal().mean())
        system = features + penalty * torch.eye(len(features), dtype=torch.float64)
        return torch.linalg.solve(system, self.answers.T / self.count).T, penalty


def differentiate_ridge(h: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """dL/dW at the refitted map, [D, C, W], from the valid positions h [D, P, W], y [D, P, C] of one item."""
    g = 2 * (h @ weights.T - y) / (h.shape[1] * y.shape[2])
    return g.transpose(1, 2) @ h


class Rps(Method):
    """Product of gradients at the output layer."""

    name = "rps"
    label = "Representer points (RPS, our reading)"
    description = "How far clip and track pull the network's last layer the same way under the same noise."
    cost = "one forward pass a draw and recording"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Cell by cell of the run's bank."""
        return score_by_cell(context, context.bank, self.name, self._score_cell)

    def _score_cell(self, context: Context, t: torch.Tensor, eps: torch.Tensor) -> np.ndarray:
        """[Q + K, N]"""

        def differentiate(item: Items) -> torch.Tensor:
            return collect_output_layer(context.model, item, t, eps, int(item.valid_frames[0])).gradient()

        clips = torch.stack([differentiate(context.select_clip(*clip)) for clip in context.clips])
        return np.stack(
            [multiply_gradients(clips, differentiate(context.items[[row]])) for row in range(len(context.items))],
            axis=1,
        )


class RpsRidge(Method):
    """Product of gradients at an output layer that is refitted so that the representer theorem holds."""

    name = "rps-ridge"
    label = "Representer points, refitted (our reading)"
    description = "How far a track's part of the refitted last layer lowers the clip's loss."
    cost = "two forward passes a draw and recording"

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Refit, then cell by cell of the run's bank."""
        total = self._sum_tracks(context)
        weights, penalty = total.solve(self.settings.ridge)
        scale = 1 / (2 * penalty * total.count)
        weights = weights.float().to(context.model.device)

        def score_cell(context: Context, t: torch.Tensor, eps: torch.Tensor) -> np.ndarray:
            def differentiate(item: Items) -> torch.Tensor:
                return differentiate_ridge(*_select_valid(context, item, t, eps), weights)

            clips = torch.stack([differentiate(context.select_clip(*clip)) for clip in context.clips])
            rows = [multiply_gradients(clips, differentiate(context.items[[row]])) for row in range(len(context.items))]
            return scale * np.stack(rows, axis=1)

        return score_by_cell(context, context.bank, self.name, score_cell)

    def _sum_tracks(self, context: Context) -> RidgeSums:
        """Sums over all training tracks under the whole bank."""
        model, bank = context.model, context.bank
        draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
        t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
        trained = context.trained
        shards = [trained[start : start + SHARD] for start in range(0, len(trained), SHARD)]

        def load(number: int) -> RidgeSums:
            def compute() -> Arrays:
                parts = [
                    RidgeSums.collect(*_select_valid(context, context.items[[row]], t, eps)) for row in shards[number]
                ]
                total = sum(parts[1:], parts[0])
                return {
                    "features": total.features.numpy(),
                    "answers": total.answers.numpy(),
                    "count": np.array(total.count),
                }

            arrays = context.cache_piece(f"moments-{number:05d}", compute)
            features, answers = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["answers"])
            return RidgeSums(features, answers, int(arrays["count"]))

        jobs = range(len(shards))
        run_jobs(f"{self.name}, refit", jobs, load, count_model_workers(context), context.cache)
        parts = [load(number) for number in jobs]
        return sum(parts[1:], parts[0])


def _select_valid(
    context: Context, item: Items, t: torch.Tensor, eps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [D, P, W] and wanted answers [D, P, C] of the output layer, at the item's valid positions."""
    h, y = collect_output_targets(context.model, item, t, eps)
    valid = count_valid_positions(context.model, int(item.valid_frames[0]))
    return h[:, :valid], y[:, :valid]
