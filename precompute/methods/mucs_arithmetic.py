"""A copy of a network that has unlearned one clip, as MUCS does (arXiv 2605.17938), and what its losses say.

Mirrored ascent: descend on mean L(retain) - weight x mean min(L(clip), L_null), with AdamW, until the clip's clamped
loss over a batch is within `tolerance` of L_null, the loss of a network that knows nothing. Losses are per item. The
check comes before the step, so a clip that is unknown to begin with takes none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

Losses = Callable[[int], tuple[torch.Tensor, torch.Tensor]]  # step -> losses of random tracks [B], of the clip [B]


@dataclass(frozen=True)
class Ascent:
    """How a clip is unlearned."""

    learning_rate: float
    weight: float = 0.2  # of the clip's loss beside the tracks'
    tolerance: float = 0.05  # below L_null at which the clip counts as unlearned
    weight_decay: float = 0.01
    max_steps: int = 0  # 0 = as many as it takes


@dataclass(frozen=True)
class Outcome:
    """How the unlearning ended."""

    steps: int
    reached: bool  # False: it stopped on the limit
    clip_loss: float  # clamped, of the last batch


def unlearn(parameters: Sequence[nn.Parameter], losses: Losses, null_loss: float, settings: Ascent) -> Outcome:
    """Change `parameters` in place."""
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    step = 0
    while True:
        retain, clip = losses(step)
        clamped = clip.clamp(max=null_loss).mean()
        reached = clamped.item() >= (1 - settings.tolerance) * null_loss
        if reached or step == settings.max_steps > 0:
            return Outcome(step, reached, clamped.item())
        optimiser.zero_grad(set_to_none=True)
        (retain.mean() - settings.weight * clamped).backward()
        optimiser.step()
        step += 1


def skew(before: torch.Tensor, after: torch.Tensor, floor: float = 1e-3) -> torch.Tensor:
    """(L_u - L_0) / (L_u + L_0 + floor), elementwise, for losses of the same draws before and after; in (-1, 1)."""
    return (after - before) / (after + before + floor)


def noisier_times(draws: int, share: float) -> torch.Tensor:
    """[D] times from 1 (pure noise) downwards: the first `draws` of an even grid that they fill up to `share`."""
    return torch.linspace(1, 0, int(draws / share))[:draws]
