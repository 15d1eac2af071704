"""Training loss of the demo's diffusion transformer: v-objective on zero-padded latents under their own captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from precompute.model.diffusion import Items, Model, NoiseBank, v_objective

CAPTION_DROPOUT = 0.1  # share of items without caption, for guidance at sampling time


class DiffusionLoss:
    """Named losses of random tracks, timesteps and noise, for `loop.fit`; the mean over all padded frames."""

    def __init__(self, network: Any, model: Model, items: Items, batch: int, weights: Sequence[float] = ()) -> None:
        """`network`: `model.network`, which is trained; `items`: the training tracks, `batch` of them per step.

        `weights` [N]: how often each is drawn, in any unit; none = all alike.
        """
        self.batch = batch
        self.network, self.model, self.items = network, model, items
        self.weights = torch.tensor(list(weights) or [1.0] * len(items), dtype=torch.float64)

    def __call__(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a step; all its random choices come from the generator."""
        rows = torch.multinomial(self.weights, self.batch, replacement=True, generator=generator).tolist()
        items = self.items[rows]
        t = (torch.arange(self.batch) + torch.rand(self.batch, generator=generator)) / self.batch  # one per stratum
        t = t[torch.randperm(self.batch, generator=generator)]
        eps = torch.randn(items.latents.shape, generator=generator)
        condition = self.model.condition(items)
        has_caption = (torch.rand(self.batch, generator=generator) >= CAPTION_DROPOUT).float()[:, None, None]
        condition["cross_attn_cond"] = condition["cross_attn_cond"] * has_caption.to(self.model.device)
        z, t, eps = (tensor.to(self.model.device) for tensor in (items.latents, t, eps))
        noised, target = v_objective(z, t, eps)
        predicted = self.network.model(noised, t, use_checkpointing=False, **condition)
        loss = (predicted.float() - target).square().mean()
        return {"loss": loss}


@torch.no_grad()
def measure_mean_loss(model: Model, items: Items, bank: NoiseBank) -> float:
    """Mean loss over items and bank, in eval mode: lower on training tracks than on decoys, once a model has learnt."""
    total = 0.0
    for row in range(len(items)):
        item = items[[row]]
        condition = model.condition(item)
        draws = [bank.cell(r, s, (model.latent_channels, model.frames)) for r, s in bank.cells()]
        t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
        total += model.loss(item.latents[0], condition, t, eps).item()
    return total / len(items)
