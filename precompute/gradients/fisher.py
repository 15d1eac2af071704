"""Diagonal Fisher information of the training loss, [P] float32; sums over tracks and draws are float64."""

from __future__ import annotations

import numpy as np
import torch

from precompute.common.cache import Cache, Entry
from precompute.common.progress import progress
from precompute.common.sequences import spread_evenly
from precompute.config.run import FisherSection, RunConfig, fingerprint
from precompute.gradients.flat_vectors import count_parameters, differentiate
from precompute.model.diffusion import Items, Model, NoiseBank


def compute_fisher(model: Model, items: Items, layers: str, settings: FisherSection, label: str = "") -> torch.Tensor:
    """Mean over tracks and timesteps of squared per-sample gradients, [P], before damping.

    "Per sample" is one track at one (t, eps); the loss is the training loss: all padded frames, own caption. `label`:
    shows progress under this name.
    """
    parameters = model.parameters(layers)
    bank = NoiseBank(replicates=1, strata=settings.draws, draws_per_cell=1, seed=settings.seed, low=settings.t_low)
    shape = (model.latent_channels, model.frames)
    total = torch.zeros(count_parameters(parameters), dtype=torch.float64)
    rows = spread_evenly(len(items), settings.tracks)
    for row in progress(label, rows) if label else rows:
        item = items[[row]]
        with torch.no_grad():
            condition = model.condition(item)
        for cell in bank.cells():
            t, eps = bank.cell(*cell, shape)
            gradient = differentiate(model.loss(item.latents[0], condition, t, eps), parameters)
            total += gradient.square().cpu()
    return (total / (len(rows) * len(bank.cells()))).float()


def load_fisher(model: Model, tracks: Items, config: RunConfig, cache: Cache, key: str) -> torch.Tensor:
    """`compute_fisher` of the training tracks, cached; `key` names model and tracks by content."""

    def compute() -> dict[str, np.ndarray]:
        return {"fisher": compute_fisher(model, tracks, config.unlearning.layers, config.fisher, "Fisher").numpy()}

    return torch.from_numpy(cache.get(name_fisher(config, key), compute)["fisher"])


def name_fisher(config: RunConfig, key: str) -> Entry:
    """The name in the cache of what `load_fisher` gives."""
    return Entry("fisher", fingerprint(key, config.fisher, config.unlearning.layers))


def invert_fisher(fisher: torch.Tensor, damping: float) -> torch.Tensor:
    """1 / (F + damping x mean F), [P]; ones where F is zero everywhere."""
    mean = float(fisher.double().mean())
    if mean == 0.0:
        return torch.ones_like(fisher)
    return 1.0 / (fisher + damping * mean)
