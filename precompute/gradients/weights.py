"""Changes a loaded model's weights for a while: the only way to do so, and every bit is put back at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from precompute.gradients.flat_vectors import unflatten


@contextmanager
def restored_weights(parameters: Mapping[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """The parameters may be changed in place within the block; yields copies of them as they were, by name."""
    originals = {name: p.detach().clone() for name, p in parameters.items()}
    try:
        yield originals
    finally:
        with torch.no_grad():
            for name, value in originals.items():
                parameters[name].copy_(value)


@torch.no_grad()
def add_to_weights(parameters: Mapping[str, torch.Tensor], change: torch.Tensor, factor: float = 1.0) -> None:
    """Add `factor` x `change` [P] to the parameters, in place; for use within `restored_weights`."""
    for name, part in unflatten(change, parameters).items():
        parameters[name].add_(part.to(parameters[name].device), alpha=factor)


def measure_length(parameters: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Euclidean length of all parameters together, a float64 scalar."""
    total = torch.zeros((), dtype=torch.float64)
    for parameter in parameters.values():
        total = total.to(parameter.device) + parameter.detach().double().square().sum()
    return torch.sqrt(total)
