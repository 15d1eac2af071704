"""Gradients of single tracks, each computed once for all methods that ask for it; of clips: `steps.py`.

Three scalars of a network's output may be differentiated, each a mean over frames and channels: "loss" (squared error,
as trained), "square" (of the output itself; D-TRAK, arXiv 2311.00500) and "mean" (of the output; DAS, arXiv
2410.18639). `normalised` scales the gradient of every single draw to length 1, so that no timestep outweighs the others
(arXiv 2401.09031). P parameters in the network's order; rows are float32.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from precompute.gradients.flat_vectors import count_parameters, differentiate, scale_to_length_one
from precompute.model.diffusion import Items, Model, NoiseBank
from precompute.model.precision import predict

OBJECTIVES = ("loss", "square", "mean")


@dataclass(frozen=True)
class GradientKind:
    """Choice of a gradient: scalar, layers, scaling and mask."""

    objective: str = "loss"  # one of OBJECTIVES
    layers: str = "all"  # layer group of the transformer
    normalised: bool = False  # every draw's gradient is scaled to length 1
    masked: bool = False  # count valid frames only


def is_clip_masked(mask: str) -> bool:
    """True where the loss of an unlearned clip counts its valid frames only (the paper's M_U)."""
    return mask in ("mixed", "dual")


def is_track_masked(mask: str) -> bool:
    """True where the loss of a scored track counts its valid frames only (the paper's M_L)."""
    return mask == "dual"


def compute_by_frame(objective: str, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """What is differentiated, frame by frame, mean over channels: outputs [D, C, F] -> [D, F]."""
    if objective == "loss":
        return (predicted - target).square().mean(1)
    return predicted.square().mean(1) if objective == "square" else predicted.mean(1)


def compute_objective(
    objective: str, predicted: torch.Tensor, target: torch.Tensor, frames: int | None
) -> torch.Tensor:
    """The scalar that is differentiated, from outputs [D, C, F]; over the first `frames` frames, None = all."""
    return compute_by_frame(objective, predicted, target)[:, :frames].mean()


class CellGradients(NamedTuple):
    """One track's gradients of one kind."""

    rows: torch.Tensor  # [R x S, P] on the CPU, one row per cell of the noise bank
    losses: torch.Tensor  # [R x S] float64; with the mask of the pass's first kind, whichever kind the rows are of


@dataclass(frozen=True)
class TrackGradients:
    """One track's gradients of every kind that a pass needs."""

    rows: dict[GradientKind, torch.Tensor]  # [R x S, P] on the CPU, one row per cell of the noise bank
    losses: torch.Tensor  # [R x S] float64, with the mask of the first kind
    seconds: dict[GradientKind, float]  # what each kind takes by itself

    def select(self, kind: GradientKind) -> CellGradients:
        """The gradients of one kind."""
        return CellGradients(self.rows[kind], self.losses)


def compute_track_gradients(
    model: Model, track: Items, kinds: Sequence[GradientKind], bank: NoiseBank
) -> TrackGradients:
    """One track's gradients, by one forward pass per cell for all objectives of the same layers."""
    with torch.no_grad():
        condition = model.condition(track)
    cells = bank.cells()
    by_kind: dict[GradientKind, torch.Tensor] = {}
    seconds: dict[GradientKind, float] = {}
    losses = torch.zeros(len(cells), dtype=torch.float64)
    for number, (layers, masked) in enumerate(dict.fromkeys((k.layers, k.masked) for k in kinds)):
        objectives = list(dict.fromkeys(k.objective for k in kinds if (k.layers, k.masked) == (layers, masked)))
        parameters = model.parameters(layers)
        frames = int(track.valid_frames[0]) if masked else None
        rows = {o: torch.empty(len(cells), count_parameters(parameters)) for o in objectives}
        spent = dict.fromkeys(objectives, 0.0)
        for row, cell in enumerate(cells):
            began = time.monotonic()
            t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
            predicted, target = predict(model, track.latents[0], condition, t, eps)
            forward = time.monotonic() - began
            for place, objective in enumerate(objectives):
                began = time.monotonic()
                scalar = compute_objective(objective, predicted, target, frames)
                differentiate(scalar, parameters, keep_graph=place + 1 < len(objectives), out=rows[objective][row])
                spent[objective] += forward + time.monotonic() - began
            if number == 0:
                losses[row] = compute_objective("loss", predicted.detach(), target, frames).double().cpu()
        for kind in kinds:
            if (kind.layers, kind.masked) == (layers, masked):
                own = rows[kind.objective]
                by_kind[kind] = scale_to_length_one(own) if kind.normalised else own
                seconds[kind] = spent[kind.objective]
    return TrackGradients(by_kind, losses, seconds)


def compute_cell_gradient(
    model: Model, track: Items, condition: dict[str, Any], kind: GradientKind, bank: NoiseBank, cell: tuple[int, int]
) -> torch.Tensor:
    """One track's gradient in one cell, [P] float32 on the model's device, before any normalisation."""
    frames = int(track.valid_frames[0]) if kind.masked else None
    t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
    predicted, target = predict(model, track.latents[0], condition, t, eps)
    return differentiate(compute_objective(kind.objective, predicted, target, frames), model.parameters(kind.layers))
