"""Tracks and clips as the network sees them, the noise bank, and the training objectives.

Tensor letters, and what each objective predicts: see `diffusion.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from precompute.common.seeds import derive_seed
from precompute.config.reading import LATER

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2  # multiples of it, without their whole part, are spread evenly over [0, 1)


@dataclass(frozen=True)
class Items:
    """A batch of tracks or clips that can be scored or unlearned."""

    latents: torch.Tensor  # [N, C, F] float32, of the zero-padded audio
    valid_frames: torch.Tensor  # [N] int64: ceil(true samples / ratio), at least 1
    seconds: torch.Tensor  # [N] float32: true length, the timing condition
    prompts: tuple[str, ...]  # N texts
    embeddings: torch.Tensor | None = None  # [N, E] float32: CLAP embeddings, where the model is CLAP-conditioned
    timing: torch.Tensor | None = None  # [N, 2] float32: seconds_start, seconds_total as conditions; None: 0, `seconds`

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: slice | Sequence[int]) -> Items:
        index = list(range(len(self)))[rows] if isinstance(rows, slice) else list(rows)
        return Items(
            self.latents[index],
            self.valid_frames[index],
            self.seconds[index],
            tuple(self.prompts[i] for i in index),
            None if self.embeddings is None else self.embeddings[index],
            None if self.timing is None else self.timing[index],
        )

    def join(self, other: Items) -> Items:
        """These items, then the others of the same model."""

        def join_optional(one: torch.Tensor | None, two: torch.Tensor | None) -> torch.Tensor | None:
            return None if one is None or two is None else torch.cat([one, two])

        timing = None if self.timing is None and other.timing is None else join_optional(self.times, other.times)
        return Items(
            torch.cat([self.latents, other.latents]),
            torch.cat([self.valid_frames, other.valid_frames]),
            torch.cat([self.seconds, other.seconds]),
            self.prompts + other.prompts,
            join_optional(self.embeddings, other.embeddings),
            timing,
        )

    @property
    def times(self) -> torch.Tensor:
        """[N, 2]: seconds_start and seconds_total of every item."""
        return torch.stack([torch.zeros_like(self.seconds), self.seconds], 1) if self.timing is None else self.timing


@dataclass(frozen=True)
class NoiseBank:
    """The fixed draws (t, eps) that all models and tracks share: `replicates` x `strata` cells of `draws_per_cell`.

    Stratum s holds t in low + (1 - low) [s, s + 1) / strata. A cell depends on (seed, replicate, stratum) alone, so a
    larger bank of the same seed contains a smaller one.
    """

    replicates: int  # R
    strata: int  # S
    draws_per_cell: int
    seed: int
    low: float = 0.0  # least t: above 0, the cleaner part of the schedule is left out
    # share of the cells that are without caption, as guidance uses and training mixes in
    uncaptioned: float = field(default=0.0, metadata=LATER)

    def cell(self, replicate: int, stratum: int, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """t [D] and eps [D, C, F] of one cell; `shape` is (C, F)."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, replicate * 1009 + stratum))
        u = torch.rand(self.draws_per_cell, generator=generator)
        eps = torch.randn(self.draws_per_cell, *shape, generator=generator)
        return self.low + (1 - self.low) * (stratum + u) / self.strata, eps

    def cells(self) -> list[tuple[int, int]]:
        """All (replicate, stratum), in the order in which scores are stored."""
        return [(r, s) for r in range(self.replicates) for s in range(self.strata)]

    def has_caption(self, replicate: int, stratum: int) -> bool:
        """False for the cells whose draws are without caption: spread evenly, so that no stratum has them all."""
        return ((replicate * self.strata + stratum + 0.5) * GOLDEN_RATIO) % 1.0 >= self.uncaptioned

    def select_condition(self, condition: dict[str, Any], cells: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """The condition of one item, [1, ...] each, for the draws of some cells: [D, ...] where captions are left out.

        Left out is what guidance leaves out: all that enters by cross-attention.
        """
        kept = [self.has_caption(*cell) for cell in cells for _ in range(self.draws_per_cell)]
        if all(kept) or condition.get("cross_attn_cond") is None:
            return condition
        tokens = condition["cross_attn_cond"]
        factor = torch.tensor(kept, dtype=tokens.dtype, device=tokens.device)[:, None, None]
        return {**condition, "cross_attn_cond": tokens * factor}


def v_objective(z: torch.Tensor, t: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and target of the network, [B, C, F] each, for latents z and noise eps at times t [B]; v-objective."""
    alpha, sigma = torch.cos(t * math.pi / 2)[:, None, None], torch.sin(t * math.pi / 2)[:, None, None]
    return alpha * z + sigma * eps, alpha * eps - sigma * z


def compute_schedule(objective: str, t: float) -> tuple[float, float]:
    """alpha and sigma of an objective at time t."""
    return (math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)) if objective == "v" else (1 - t, t)


def rectified_flow(z: torch.Tensor, t: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and target of the network, [B, C, F] each, for latents z and noise eps at times t [B]; rectified flow."""
    t = t[:, None, None]
    return (1 - t) * z + t * eps, eps - z


OBJECTIVES = {"v": v_objective, "rectified_flow": rectified_flow, "rf_denoiser": rectified_flow}
