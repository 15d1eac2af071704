"""What goes on inside the diffusion transformer under given draws: the outputs of its layers, and its output layer.

D draws, P positions (latent frames / patch size, the audio's own: memory and prepended tokens are left out), W channels
of the transformer, C output channels of a position. Everything is fp32, in the model's own eval mode.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from precompute.model.diffusion import Items, Model


def transformer(model: Model) -> nn.Module:
    """The stack of layers."""
    return model.network.model.model.transformer


def depth(model: Model) -> int:
    """How many layers there are."""
    return len(transformer(model).layers)


def valid_positions(model: Model, valid_frames: int) -> int:
    """Positions that hold true audio, of the model's P = F / patch size."""
    return math.ceil(valid_frames / model.network.model.model.patch_size)


def _positions(model: Model) -> int:
    return model.frames // model.network.model.model.patch_size


@torch.no_grad()
def layer_outputs(
    model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor, layers: Sequence[int]
) -> list[torch.Tensor]:
    """Outputs of chosen layers (counted from 0) for one item under draws t [D], eps [D, C, F] -> [D, P, W] each."""
    found: dict[int, torch.Tensor] = {}
    positions = _positions(model)
    with contextlib.ExitStack() as stack:
        for layer in layers:

            def keep(_: nn.Module, __: Any, output: torch.Tensor, layer: int = layer) -> None:
                found[layer] = output[:, -positions:]

            stack.callback(transformer(model).layers[layer].register_forward_hook(keep).remove)
        model.frame_loss(item.latents[0], model.condition(item), t, eps)
    return [found[layer] for layer in layers]


@dataclass(frozen=True)
class OutputLayer:
    """What meets at the transformer's last linear map W, for each draw: dL/dW = sum over positions of g h^T."""

    h: torch.Tensor  # [D, P, W]: its inputs
    g: torch.Tensor  # [D, P, C]: gradients of each draw's own loss at its outputs

    def gradient(self) -> torch.Tensor:
        """[D, C, W]: gradient of each draw's loss with respect to the map's weights."""
        return self.g.transpose(1, 2) @ self.h


def output_layer(model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor, valid_frames: int) -> OutputLayer:
    """For one item under draws t [D], eps [D, C, F]; the loss of a draw is the mean over its first `valid_frames`."""
    with torch.no_grad():
        condition = model.condition(item)
    with torch.enable_grad(), _cut_at_output(model) as kept:
        frames = model.frame_loss(item.latents[0], condition, t, eps)[:, :valid_frames]
        frames.mean(1).sum().backward()
    positions = _positions(model)
    return OutputLayer(kept["input"][:, -positions:].detach(), kept["output"].grad[:, -positions:].detach())


def targets(model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs h [D, P, W] of the last linear map, and what the network should answer at those positions, [D, P, C].

    All that follows the map (a residual convolution of width 1) is linear, so from h to the answer is one linear map.
    The right answer is read off the loss of the answer 0, whose gradient is -2 / C times it, whatever the objective.
    """
    with torch.no_grad():
        condition = model.condition(item)
    answer: dict[str, torch.Tensor] = {}

    def zero(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        answer["zero"] = torch.zeros_like(output).requires_grad_(True)
        return answer["zero"]

    handle = model.network.model.register_forward_hook(zero)
    try:
        with torch.enable_grad(), _cut_at_output(model) as kept:
            model.frame_loss(item.latents[0], condition, t, eps).sum().backward()
    finally:
        handle.remove()
    wanted = answer["zero"].grad * (-model.latent_channels / 2)  # [D, C, F]
    patch = model.network.model.model.patch_size
    wanted = wanted.unflatten(2, (-1, patch)).permute(0, 2, 1, 3).flatten(2)  # b c (t p) -> b t (c p)
    return kept["input"][:, -_positions(model) :], wanted


@contextlib.contextmanager
def _cut_at_output(model: Model) -> Iterator[dict[str, torch.Tensor]]:
    """Keeps input and output of the last linear map; gradients reach its output and go no further back."""
    kept: dict[str, torch.Tensor] = {}

    def cut(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        kept["input"] = inputs[0].detach()
        kept["output"] = output.detach().requires_grad_(torch.is_grad_enabled())
        return kept["output"]

    handle = transformer(model).project_out.register_forward_hook(cut)
    try:
        yield kept
    finally:
        handle.remove()
