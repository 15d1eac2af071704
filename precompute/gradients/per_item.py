"""Gradients of tracks and clips, each taken once for all methods that ask for it.

Three scalars of a network's output may be differentiated, each a mean over frames and channels: "loss" (squared error,
as trained), "square" (of the output itself; D-TRAK, arXiv 2311.00500) and "mean" (of the output; DAS, arXiv
2410.18639). `normalised` scales the gradient of every single draw to length 1, so that no timestep outweighs the others
(arXiv 2401.09031). P parameters in the network's order; rows are float32.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from precompute.gradients.fisher import count
from precompute.model.diffusion import Items, Model, NoiseBank
from precompute.model.precision import predict

OBJECTIVES = ("loss", "square", "mean")
BATCH = 16  # draws of a clip a forward pass
TINY = 1e-20


@dataclass(frozen=True)
class Kind:
    """Which gradient."""

    objective: str = "loss"
    layers: str = "all"
    normalised: bool = False
    masked: bool = False  # count valid frames only


def value(objective: str, predicted: torch.Tensor, target: torch.Tensor, frames: int | None) -> torch.Tensor:
    """The scalar that is differentiated, from outputs [D, C, F]; over the first `frames` frames, None = all."""
    if objective == "loss":
        by_frame = (predicted - target).square().mean(1)
    elif objective == "square":
        by_frame = predicted.square().mean(1)
    else:
        by_frame = predicted.mean(1)
    return by_frame[:, :frames].mean()


@dataclass(frozen=True)
class Seen:
    """What a pass sees of one track."""

    rows: dict[Kind, torch.Tensor]  # [R x S, P] on the CPU, a row a cell of the bank
    losses: torch.Tensor  # [R x S] float64, with the mask of the first kind
    seconds: dict[Kind, float]  # what each kind takes by itself


def of_track(model: Model, track: Items, kinds: Sequence[Kind], bank: NoiseBank) -> Seen:
    """One track's gradients, by one forward pass a cell for all objectives of the same layers."""
    with torch.no_grad():
        condition = model.condition(track)
    cells, found, seconds = bank.cells(), {}, {}
    losses = torch.zeros(len(cells), dtype=torch.float64)
    for number, (layers, masked) in enumerate(dict.fromkeys((k.layers, k.masked) for k in kinds)):
        objectives = list(dict.fromkeys(k.objective for k in kinds if (k.layers, k.masked) == (layers, masked)))
        parameters = model.parameters(layers)
        frames = int(track.valid_frames[0]) if masked else None
        rows = {o: torch.empty(len(cells), count(parameters)) for o in objectives}
        spent = dict.fromkeys(objectives, 0.0)
        for row, cell in enumerate(cells):
            began = time.monotonic()
            t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
            predicted, target = predict(model, track.latents[0], condition, t, eps)
            forward = time.monotonic() - began
            for place, objective in enumerate(objectives):
                began = time.monotonic()
                scalar = value(objective, predicted, target, frames)
                _flat(scalar, parameters, keep=place + 1 < len(objectives), into=rows[objective][row])
                spent[objective] += forward + time.monotonic() - began
            if number == 0:
                losses[row] = value("loss", predicted.detach(), target, frames).double().cpu()
        for kind in kinds:
            if (kind.layers, kind.masked) == (layers, masked):
                found[kind] = unit_rows(rows[kind.objective]) if kind.normalised else rows[kind.objective]
                seconds[kind] = spent[kind.objective]
    return Seen(found, losses, seconds)


def of_cell(
    model: Model, track: Items, condition: dict[str, Any], kind: Kind, bank: NoiseBank, cell: tuple[int, int]
) -> torch.Tensor:
    """One track's gradient in one cell, [P] float32 on the model's device, before any normalisation."""
    frames = int(track.valid_frames[0]) if kind.masked else None
    t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
    predicted, target = predict(model, track.latents[0], condition, t, eps)
    return _flat(value(kind.objective, predicted, target, frames), model.parameters(kind.layers))


def of_clip(model: Model, clip: Items, kind: Kind, bank: NoiseBank) -> torch.Tensor:
    """One clip's gradient for each replicate of its own draws, mean over the replicate's strata: [R, P]."""
    parameters = model.parameters(kind.layers)
    with torch.no_grad():
        condition = model.condition(clip)
    frames = int(clip.valid_frames[0]) if kind.masked else None
    total = torch.zeros(bank.replicates, count(parameters))
    batch = 1 if kind.normalised else BATCH
    for half in range(bank.replicates):
        draws = [bank.cell(half, stratum, (model.latent_channels, model.frames)) for stratum in range(bank.strata)]
        for start in range(0, len(draws), batch):
            t, eps = (torch.cat(part) for part in zip(*draws[start : start + batch], strict=True))
            predicted, target = model.predict(clip.latents[0], condition, t, eps)
            row = _flat(value(kind.objective, predicted, target, frames), parameters).cpu()
            total[half] += unit_rows(row[None])[0] if kind.normalised else row * len(t)
    return total / bank.strata


def unit_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1 (a row of zeros stays)."""
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=TINY)


def _flat(
    scalar: torch.Tensor,
    parameters: dict[str, torch.nn.Parameter],
    keep: bool = False,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """As `fisher.flat_gradient`, with zeros for parameters that the scalar does not depend on.

    `into`: a row [P] on the CPU, written in place: a copy less of the largest thing that a pass moves."""
    found = torch.autograd.grad(scalar, list(parameters.values()), retain_graph=keep, allow_unused=True)
    pairs = zip(found, parameters.values(), strict=True)
    parts = [torch.zeros(p.numel(), device=p.device) if g is None else g.flatten() for g, p in pairs]
    if into is None:
        return torch.cat(parts)
    if parts[0].device == into.device:
        return torch.cat(parts, out=into)
    return into.copy_(torch.cat(parts))
