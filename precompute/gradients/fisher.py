"""Gradients as flat vectors, and the curvature of the training loss.

A flat vector [P] holds the gradients of the chosen layers' parameters, in the network's order, fp32. Sums over tracks
and draws are fp64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from precompute.common.sequences import spread_evenly
from precompute.config.run import FisherSection
from precompute.model.diffusion import Items, Model, NoiseBank


def flat_gradient(loss: torch.Tensor, parameters: dict[str, nn.Parameter], keep_graph: bool = False) -> torch.Tensor:
    """Gradient of a scalar loss, [P] float32 on the loss's device."""
    parts = torch.autograd.grad(loss, list(parameters.values()), retain_graph=keep_graph)
    return torch.cat([part.flatten() for part in parts])


def count(parameters: dict[str, nn.Parameter]) -> int:
    """P: the number of scalars in the chosen layers."""
    return sum(p.numel() for p in parameters.values())


def unflatten(vector: torch.Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """[P] -> one tensor a parameter, in the parameters' shapes."""
    parts = vector.split([p.numel() for p in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}


def diagonal_fisher(
    model: Model,
    items: Items,
    layers: str,
    settings: FisherSection,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> torch.Tensor:
    """Mean over tracks and timesteps of squared per-sample gradients, [P] float32, before damping.

    "Per sample" is one track at one (t, eps); the loss is the training loss: all padded frames, own caption.
    """
    parameters = model.parameters(layers)
    bank = NoiseBank(replicates=1, strata=settings.draws, draws_per_cell=1, seed=settings.seed)
    shape = (model.latent_channels, model.frames)
    total = torch.zeros(count(parameters), dtype=torch.float64)
    rows = spread_evenly(len(items), settings.tracks)
    for done, row in enumerate(rows, start=1):
        item = items[[row]]
        with torch.no_grad():
            condition = model.condition(item)
        for cell in bank.cells():
            t, eps = bank.cell(*cell, shape)
            gradient = flat_gradient(model.loss(item.latents[0], condition, t, eps), parameters)
            total += gradient.square().cpu()
        progress(done, len(rows))
    return (total / (len(rows) * len(bank.cells()))).float()


def inverse(fisher: torch.Tensor, damping: float) -> torch.Tensor:
    """1 / (F + damping x mean F), [P]; an identity of the same scale where F is zero everywhere."""
    mean = float(fisher.double().mean())
    if mean == 0.0:
        return torch.ones_like(fisher)
    return 1.0 / (fisher + damping * mean)
