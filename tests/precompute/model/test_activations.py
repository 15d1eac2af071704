"""Layer outputs and the output layer against plain autograd on the tiny model."""

from __future__ import annotations

import pytest
import torch

from precompute.model.activations import (
    collect_layer_outputs,
    collect_output_layer,
    collect_output_targets,
    count_layers,
    count_valid_positions,
    get_transformer,
)
from precompute.model.diffusion import Items, Model, NoiseBank

T, EPS = (torch.cat(part) for part in zip(*(NoiseBank(1, 2, 2, 3).cell(0, s, (8, 50)) for s in range(2)), strict=True))


def test_layers_lead_to_the_networks_answer(model: Model, items: Items) -> None:
    """The last layer's output, taken through the two maps that follow it, is what the network says."""
    last = collect_layer_outputs(model, items[[0]], T, EPS, [count_layers(model) - 1])[0]
    dit = model.network.model.model
    with torch.no_grad():
        said = dit.transformer.project_out(last).transpose(1, 2)
        said = dit.postprocess_conv(said) + said
        by_hand = (said - _target(items)).square().mean(1)
        wanted = model.frame_loss(items.latents[0], model.condition(items[[0]]), T, EPS)
    torch.testing.assert_close(by_hand, wanted, atol=1e-5, rtol=1e-4)


def _target(items: Items) -> torch.Tensor:
    angle = (T * torch.pi / 2)[:, None, None]
    return torch.cos(angle) * EPS - torch.sin(angle) * items.latents[0]


def test_gradient_of_the_output_layer(model: Model, items: Items) -> None:
    valid = int(items.valid_frames[3])
    found = collect_output_layer(model, items[[3]], T, EPS, valid)
    weight = get_transformer(model).project_out.weight
    assert found.h.shape == (4, model.frames, weight.shape[1])
    weight.requires_grad_(True)
    try:
        for draw, gradient in enumerate(found.gradient()):
            loss = model.loss(
                items.latents[3], model.condition(items[[3]]), T[draw : draw + 1], EPS[draw : draw + 1], valid
            )
            torch.testing.assert_close(gradient, torch.autograd.grad(loss, weight)[0], atol=1e-6, rtol=1e-4)
    finally:
        weight.requires_grad_(False)


def test_features_lead_to_the_networks_answer(model: Model, items: Items) -> None:
    """One linear map from the features to the answer: the output layer, then the convolution."""
    h, wanted = collect_output_targets(model, items[[2]], T, EPS)
    dit = model.network.model.model
    mixing = torch.eye(8) + dit.postprocess_conv.weight[..., 0]
    with torch.no_grad():
        by_hand = (h @ (mixing @ dit.transformer.project_out.weight).T - wanted).square().mean(2)
        loss = model.frame_loss(items.latents[2], model.condition(items[[2]]), T, EPS)
    torch.testing.assert_close(wanted.transpose(1, 2), _target(items[[2]]))
    torch.testing.assert_close(by_hand, loss, atol=1e-5, rtol=1e-4)


def test_hooks_are_gone_afterwards(model: Model, items: Items) -> None:
    with pytest.raises(IndexError):
        collect_layer_outputs(model, items[[0]], T, EPS, [0, 99])
    collect_layer_outputs(model, items[[0]], T, EPS, [0])
    collect_output_layer(model, items[[0]], T, EPS, 3)
    assert not any(module._forward_hooks for module in model.network.modules())


def test_valid_positions_count_patches(model: Model) -> None:
    assert [count_valid_positions(model, frames) for frames in (1, 7, 50)] == [1, 7, 50]
