"""Activations of the diffusion transformer under given draws: outputs of its layers, and its output layer.

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


def get_transformer(model: Model) -> Any:
    """The stack of layers: a ContinuousTransformer of stable-audio-tools."""
    return model.network.model.model.transformer


def count_layers(model: Model) -> int:
    """Number of the transformer's layers."""
    return len(get_transformer(model).layers)


def count_valid_positions(model: Model, valid_frames: int) -> int:
    """Positions that hold true audio, of the model's P = F / patch size."""
    return math.ceil(valid_frames / model.network.model.model.patch_size)


def _count_positions(model: Model) -> int:
    return model.frames // model.network.model.model.patch_size


@torch.no_grad()
def collect_layer_outputs(
    model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor, layers: Sequence[int]
) -> list[torch.Tensor]:
    """Outputs of chosen layers (counted from 0) for one item under draws t [D], eps [D, C, F] -> [D, P, W] each."""
    outputs: dict[int, torch.Tensor] = {}
    positions = _count_positions(model)
    with contextlib.ExitStack() as stack:
        for layer in layers:

            def keep(_: nn.Module, __: Any, output: torch.Tensor, layer: int = layer) -> None:
                outputs[layer] = output[:, -positions:]

            stack.callback(get_transformer(model).layers[layer].register_forward_hook(keep).remove)
        model.frame_loss(item.latents[0], model.condition(item), t, eps)
    return [outputs[layer] for layer in layers]


@dataclass(frozen=True)
class OutputLayer:
    """Inputs and output gradients of the transformer's last linear map W, for each draw: dL/dW = sum of g h^T."""

    h: torch.Tensor  # [D, P, W]: its inputs
    g: torch.Tensor  # [D, P, C]: gradients of each draw's own loss at its outputs

    def gradient(self) -> torch.Tensor:
        """[D, C, W]: gradient of each draw's loss with respect to the map's weights."""
        return self.g.transpose(1, 2) @ self.h


def collect_output_layer(
    model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor, valid_frames: int
) -> OutputLayer:
    """Both sides of the output layer for one item under draws t [D], eps [D, C, F].

    The loss of a draw is the mean over its first `valid_frames`.
    """
    with torch.no_grad():
        condition = model.condition(item)
    with torch.enable_grad(), _cut_at_output(model) as ends:
        frames = model.frame_loss(item.latents[0], condition, t, eps)[:, :valid_frames]
        frames.mean(1).sum().backward()
    positions = _count_positions(model)
    return OutputLayer(ends["input"][:, -positions:].detach(), _get_gradient(ends["output"])[:, -positions:].detach())


def collect_output_targets(
    model: Model, item: Items, t: torch.Tensor, eps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs h [D, P, W] of the last linear map, and what the network should predict at those positions, [D, P, C].

    All that follows the map (a residual convolution of width 1) is linear, so h is mapped linearly to the prediction.
    The right one is read from the loss of the prediction 0, whose gradient is -2 / C times it, for every objective.
    """
    with torch.no_grad():
        condition = model.condition(item)
    zeros: list[torch.Tensor] = []

    def zero(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        zeros.append(torch.zeros_like(output).requires_grad_(True))
        return zeros[-1]

    handle = model.network.model.register_forward_hook(zero)
    try:
        with torch.enable_grad(), _cut_at_output(model) as ends:
            model.frame_loss(item.latents[0], condition, t, eps).sum().backward()
    finally:
        handle.remove()
    wanted = _get_gradient(zeros[-1]) * (-model.latent_channels / 2)  # [D, C, F]
    patch = model.network.model.model.patch_size
    wanted = wanted.unflatten(2, (-1, patch)).permute(0, 2, 1, 3).flatten(2)  # b c (t p) -> b t (c p)
    return ends["input"][:, -_count_positions(model) :], wanted


@contextlib.contextmanager
def _cut_at_output(model: Model) -> Iterator[dict[str, torch.Tensor]]:
    """Yields input and output of the last linear map by name; gradients reach its output and go no further back."""
    ends: dict[str, torch.Tensor] = {}

    def cut(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        ends["input"] = inputs[0].detach()
        ends["output"] = output.detach().requires_grad_(torch.is_grad_enabled())
        return ends["output"]

    handle = get_transformer(model).project_out.register_forward_hook(cut)
    try:
        yield ends
    finally:
        handle.remove()


def _get_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """The gradient that a backward pass has left at a tensor. Raises ValueError where none has."""
    if tensor.grad is None:
        raise ValueError("no gradient has reached this tensor")
    return tensor.grad
