"""Gradients of single tracks, each computed once for all methods that ask for it; of clips: `steps.py`.

Three scalars of a network's output may be differentiated, each a mean over frames and channels: "loss" (squared error,
as trained), "square" (of the output itself; D-TRAK, arXiv 2311.00500) and "mean" (of the output; DAS, arXiv
2410.18639). `normalised` scales the gradient of every single draw to length 1, so that no timestep outweighs the others
(arXiv 2401.09031). P parameters in the network's order; rows are float32.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from precompute.gradients.flat_vectors import TINY, count_parameters, differentiate, scale_to_length_one
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
        # an objective, and whether each of several draws is scaled by itself: of one draw, the row can be scaled later
        own = [(k, (k.objective, k.normalised and bank.draws_per_cell > 1)) for k in kinds]
        own = [(k, what) for k, what in own if (k.layers, k.masked) == (layers, masked)]
        wanted = list(dict.fromkeys(what for _, what in own))
        parameters = model.parameters(layers)
        frames = int(track.valid_frames[0]) if masked else None
        rows = {what: torch.empty(len(cells), count_parameters(parameters)) for what in wanted}
        spent = dict.fromkeys(wanted, 0.0)
        for row, cell in enumerate(cells):
            began = time.monotonic()
            t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
            predicted, target = predict(model, track.latents[0], bank.select_condition(condition, [cell]), t, eps)
            forward = time.monotonic() - began
            for place, (objective, scaled) in enumerate(wanted):
                began, keep_graph = time.monotonic(), place + 1 < len(wanted)
                out = rows[objective, scaled][row]
                if scaled:
                    out.copy_(average_scaled(objective, predicted, target, frames, parameters, keep_graph))
                else:
                    scalar = compute_objective(objective, predicted, target, frames)
                    differentiate(scalar, parameters, keep_graph, out)
                spent[objective, scaled] += forward + time.monotonic() - began
            if number == 0:
                losses[row] = compute_objective("loss", predicted.detach(), target, frames).double().cpu()
        for kind, what in own:
            by_kind[kind] = scale_to_length_one(rows[what]) if kind.normalised and not what[1] else rows[what]
            seconds[kind] = spent[what]
    return TrackGradients(by_kind, losses, seconds)


def compute_cell_gradient(
    model: Model, track: Items, condition: dict[str, Any], kind: GradientKind, bank: NoiseBank, cell: tuple[int, int]
) -> torch.Tensor:
    """One track's gradient in one cell, [P] float32 on the model's device."""
    frames = int(track.valid_frames[0]) if kind.masked else None
    t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
    predicted, target = predict(model, track.latents[0], bank.select_condition(condition, [cell]), t, eps)
    parameters = model.parameters(kind.layers)
    if kind.normalised:
        return average_scaled(kind.objective, predicted, target, frames, parameters)
    return differentiate(compute_objective(kind.objective, predicted, target, frames), parameters)


def average_scaled(
    objective: str,
    predicted: torch.Tensor,
    target: torch.Tensor,
    frames: int | None,
    parameters: Mapping[str, torch.Tensor],
    keep_graph: bool = False,
) -> torch.Tensor:
    """Mean over the draws of their gradients, each scaled to length 1: outputs [D, C, F] -> [P] float32."""
    draws, total = len(predicted), torch.zeros(count_parameters(parameters), device=predicted.device)
    for draw in range(draws):
        scalar = compute_objective(objective, predicted[draw : draw + 1], target[draw : draw + 1], frames)
        gradient = differentiate(scalar, parameters, keep_graph or draw + 1 < draws)
        total += gradient / gradient.norm().clamp(min=TINY) / draws
    return total
