"""Low-rank updates of the tiny model, as made by chance."""

from __future__ import annotations

import torch

from precompute.exemplars.files import Exemplar, ExemplarUpdate
from precompute.exemplars.low_rank import LowRankUpdate
from precompute.model.diffusion import Model


def copy_bits(model: Model) -> dict[str, torch.Tensor]:
    """All weights of a model, by name."""
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def make_random_update(weights: dict[str, torch.Tensor], rank: int, scale: float = 0.5) -> LowRankUpdate:
    """Random matrices of the shapes that these weights need."""
    generator = torch.Generator().manual_seed(3)
    a = {n: torch.randn(rank, w.shape[1], generator=generator).half() * 0.1 for n, w in weights.items()}
    b = {n: torch.randn(w.shape[0], rank, generator=generator).half() * 0.1 for n, w in weights.items()}
    return LowRankUpdate(a, b, scale)


def make_exemplars_of(update: LowRankUpdate, sha256: str, track_ids: tuple[int, ...] = (17, 18)) -> ExemplarUpdate:
    """A record with two checks, the first exemplar never crossed."""
    exemplars = tuple(
        Exemplar(track_id, f"caption {track_id}", 1.5, 0.3, ((0, 0.5), (4, 0.25)), 4 if number else None)
        for number, track_id in enumerate(track_ids)
    )
    return ExemplarUpdate(update, exemplars, 4, sha256)
