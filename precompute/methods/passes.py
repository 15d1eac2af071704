"""A pass over all clips and tracks for each cell of a noise bank; cells are kept as they come, workers share them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from precompute.common.parallel import count_workers, run_jobs
from precompute.methods.base import Context, MethodResult
from precompute.model.diffusion import NoiseBank

Cell = Callable[[Context, torch.Tensor, torch.Tensor], np.ndarray]  # context, t [D], eps [D, C, F] -> [Q + K, N]


def by_cell(context: Context, bank: NoiseBank, what: str, score: Cell) -> MethodResult:
    """Scores of each cell [Q + K, N], the clips in the order of `context.clips`, put together."""
    model, cells = context.model, bank.cells()

    def kept(number: int) -> np.ndarray:
        def compute() -> dict[str, np.ndarray]:
            draws = bank.cell(*cells[number], (model.latent_channels, model.frames))
            return {"scores": score(context, *draws)}

        return context.kept(f"cell-{number:03d}", compute)["scores"]

    run_jobs(f"{what}, cells", range(len(cells)), kept, workers(context), context.cache)
    scores = np.stack([kept(number) for number in range(len(cells))], axis=-1)  # [Q + K, N, R x S]
    scores = scores.reshape(*scores.shape[:2], bank.replicates, bank.strata, 1)
    stored = len(context.stored)
    return MethodResult(cells=scores[:stored], cohort=scores[stored:].mean((2, 3, 4)))


def workers(context: Context) -> int:
    """How many processes suit the run's model."""
    return count_workers(context.model.device, sum(p.numel() for p in context.model.network.model.parameters()))
