"""Flat vectors [P]: the gradients of a layer group's parameters one after another, in the network's order, float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch

TINY = 1e-20  # least length that a vector is divided by


def count_parameters(parameters: Mapping[str, torch.Tensor]) -> int:
    """P: the number of scalars in the parameters."""
    return sum(p.numel() for p in parameters.values())


def unflatten(vector: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """[P] -> one tensor a parameter, in the parameters' shapes."""
    parts = vector.split([p.numel() for p in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}


def differentiate(
    scalar: torch.Tensor,
    parameters: Mapping[str, torch.Tensor],
    keep_graph: bool = False,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Gradient of a scalar, [P] float32 on its device; zeros for parameters that it does not depend on.

    `out`: a row [P] on the CPU that is written in place: a copy less of the largest thing that a pass moves.
    """
    gradients = torch.autograd.grad(scalar, list(parameters.values()), retain_graph=keep_graph, allow_unused=True)
    pairs = zip(gradients, parameters.values(), strict=True)
    parts = [torch.zeros(p.numel(), device=p.device) if g is None else g.flatten() for g, p in pairs]
    if out is None:
        return torch.cat(parts)
    if parts[0].device == out.device:
        return torch.cat(parts, out=out)
    return out.copy_(torch.cat(parts))


def scale_to_length_one(rows: torch.Tensor) -> torch.Tensor:
    """[R, P] -> rows of length 1; a row of zeros stays."""
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=TINY)


def average_strata(rows: torch.Tensor, replicates: int) -> torch.Tensor:
    """Rows of the noise bank's cells [R x S, P] -> their means over the strata [R, P]."""
    return rows.unflatten(0, (replicates, -1)).mean(1)
