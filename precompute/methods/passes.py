"""A pass over all clips and tracks for each cell of a noise bank; cells are cached one by one, workers share them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.common.parallel import count_workers, run_jobs
from precompute.gradients.context import Context
from precompute.methods.base import MethodResult
from precompute.model.diffusion import NoiseBank

ScoreCell = Callable[[Context, torch.Tensor, torch.Tensor], np.ndarray]  # context, t [D], eps [D, C, F] -> [Q + K, N]


def score_by_cell(context: Context, bank: NoiseBank, label: str, score: ScoreCell) -> MethodResult:
    """Scores of each cell [Q + K, N], the clips in the order of `context.clips`, put together."""
    model, cells = context.model, bank.cells()

    def load(number: int) -> np.ndarray:
        def compute() -> Arrays:
            draws = bank.cell(*cells[number], (model.latent_channels, model.frames))
            return {"scores": score(context, *draws)}

        return context.cache_piece(f"cell-{number:03d}", compute)["scores"]

    run_jobs(f"{label}, cells", range(len(cells)), load, count_model_workers(context), context.cache)
    scores = np.stack([load(number) for number in range(len(cells))], axis=-1)  # [Q + K, N, R x S]
    scores = scores.reshape(*scores.shape[:2], bank.replicates, bank.strata, 1)
    stored = len(context.stored)
    return MethodResult(cells=scores[:stored], cohort=scores[stored:].mean((2, 3, 4)))


def count_model_workers(context: Context) -> int:
    """Number of processes that suit the run's model."""
    return count_workers(context.model.device, sum(p.numel() for p in context.model.network.model.parameters()))
