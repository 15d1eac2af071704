"""Training loss under draws that belong to the tracks: two trainings that share a track see it under equal draws.

The k-th time that a track is drawn, its timestep, noise and dropped caption depend on (seed, track, k) alone, and the
tracks come in an order that a training without some of them merely thins. What differs between two trainings is then
the missing tracks, and not the luck of the draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from precompute.common.seeds import derive_seed
from precompute.model.batches import GOLDEN_RATIO, OBJECTIVES, Items
from precompute.model.diffusion import Model
from precompute.train.diffusion import CAPTION_DROPOUT


def order_draws(weights: Sequence[float], rows: Sequence[int], count: int, seed: int) -> list[tuple[int, int]]:
    """The first `count` of (row, occurrence from 0) of a training on `rows` of all tracks.

    `weights`: how often each of all tracks is drawn in an epoch, rounded. Each epoch is a new shuffle of all tracks,
    from which those that are not in `rows` are left out.
    """
    epoch = np.repeat(np.arange(len(weights)), np.maximum(1, np.rint(weights).astype(int)))
    kept, seen, number = set(rows), Counter[int](), 0
    draws: list[tuple[int, int]] = []
    while len(draws) < count:
        shuffled = np.random.default_rng([seed, number]).permutation(epoch)
        for row in (int(row) for row in shuffled if int(row) in kept):
            draws.append((row, seen[row]))
            seen[row] += 1
        number += 1
    return draws[:count]


class KeyedLoss:
    """Named losses of a training's steps, for `loop.fit`: the mean over all padded frames, as `train-demo` has it."""

    def __init__(
        self, network: Any, model: Model, items: Items, draws: Sequence[tuple[int, int]], batch: int, seed: int
    ) -> None:
        """`network`: `model.network`, which is trained; `items`: all tracks of the bench; `draws`: `batch` a step."""
        self.network, self.model, self.items = network, model, items
        self.draws, self.batch, self.seed = draws, batch, seed

    def __call__(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a step; the loop's generator is not used."""
        own = self.draws[step * self.batch : (step + 1) * self.batch]
        items = self.items[[row for row, _ in own]]
        drawn = [draw_noise(self.seed, row, occurrence, tuple(items.latents.shape[1:])) for row, occurrence in own]
        t, eps = torch.tensor([t for t, _, _ in drawn]), torch.stack([eps for _, eps, _ in drawn])
        has_caption = torch.tensor([float(has) for _, _, has in drawn])[:, None, None]
        condition = self.model.condition(items)
        condition["cross_attn_cond"] = condition["cross_attn_cond"] * has_caption.to(self.model.device)
        z, t, eps = (tensor.to(self.model.device) for tensor in (items.latents, t, eps))
        noised, target = OBJECTIVES[self.model.objective](z, t, eps)
        predicted = self.network.model(noised, t, use_checkpointing=False, **condition)
        return {"loss": (predicted.float() - target).square().mean()}


def draw_noise(seed: int, row: int, occurrence: int, shape: tuple[int, ...]) -> tuple[float, torch.Tensor, bool]:
    """t in [0, 1), noise of a shape, and whether the caption is kept, of one occurrence of a track."""
    start = np.random.default_rng([seed, row]).random()
    generator = torch.Generator().manual_seed(derive_seed(derive_seed(seed, row), occurrence))
    eps = torch.randn(shape, generator=generator)
    has_caption = torch.rand((), generator=generator).item() >= CAPTION_DROPOUT
    return (start + occurrence * GOLDEN_RATIO) % 1.0, eps, has_caption
