"""Training of low-rank updates of the transformer layers (`exemplars/low_rank.py`) on a few tracks together.

Only A [rank, in] and B [out, rank] of each matrix are trained; B starts at zero, so the first update is nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from precompute.common import seeds
from precompute.errors import UserError
from precompute.exemplars.low_rank import LowRankUpdate
from precompute.model.diffusion import Items, Model, NoiseBank


@dataclass(frozen=True)
class LoraSettings:
    """Settings of the training of an update; it checks itself."""

    rank: int = 8
    scale: float = 1.0  # of B A
    steps: int = 120  # at most
    learning_rate: float = 7e-4  # AdamW, at the first step; it falls to 0 along half a cosine
    draws: int = 8  # of each track a step: one in each stratum of t, new noise each step
    check_every: int = 30  # steps between looks at the result
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "steps", "draws", "check_every"):
            if getattr(self, name) < 1:
                raise UserError(f"exemplars: {name} = {getattr(self, name)}: must be at least 1")
        if self.learning_rate <= 0:
            raise UserError(f"exemplars: learning_rate = {self.learning_rate}: must be above 0")


def freeze_matrices(model: Model) -> dict[str, torch.Tensor]:
    """The transformer layers' weights with two axes [out, in] by name; the network takes no gradients from here on."""
    matrices: dict[str, torch.Tensor] = {name: p for name, p in model.parameters("all").items() if p.ndim == 2}
    model.network.requires_grad_(False)
    return matrices


def train_update(model: Model, items: Items, settings: LoraSettings) -> Iterator[tuple[int, LowRankUpdate]]:
    """Yield (step, update so far) at every check and at the last step; the base weights are only read.

    Training loss over all padded frames of items [E], in eval mode (no dropout). A step's batch holds `settings.draws`
    draws of each item under its own caption, and different noise for each.
    """
    weights = freeze_matrices(model)
    generator = torch.Generator().manual_seed(settings.seed)
    a, b = {}, {}
    for name, weight in weights.items():  # A random, B zero: the first update is nothing
        start = torch.randn(settings.rank, weight.shape[1], generator=generator) / math.sqrt(weight.shape[1])
        a[name] = start.to(model.device).requires_grad_(True)
        b[name] = torch.zeros(weight.shape[0], settings.rank, device=model.device, requires_grad=True)
    optimiser = torch.optim.AdamW([*a.values(), *b.values()], lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    batch = items[[row for row in range(len(items)) for _ in range(settings.draws)]]
    with torch.no_grad():
        condition = model.condition(batch)
    for step in range(1, settings.steps + 1):
        # one bank per step: its seed follows from the run's seed and the step; a replicate an item
        bank = NoiseBank(len(items), settings.draws, 1, seed=seeds.EXEMPLAR_BANK + settings.seed * 100_003 + step)
        draws = [bank.cell(*cell, (model.latent_channels, model.frames)) for cell in bank.cells()]
        t, eps = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
        merged = {name: weight + settings.scale * (b[name] @ a[name]) for name, weight in weights.items()}
        loss = model.frame_loss(batch.latents, condition, t, eps, weights=merged).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % settings.check_every == 0 or step == settings.steps:
            half_a, half_b = ({name: v.detach().half().cpu() for name, v in side.items()} for side in (a, b))
            yield step, LowRankUpdate(half_a, half_b, settings.scale)
