"""Mirrored unlearning and its skew, held to what the published code of MUCS computes on a seeded network."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from precompute.methods.mucs_arithmetic import Ascent, noisier_times, skew, unlearn

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/mucs.json").read_text())
NULL, SIGMA_DATA = 1.8, 0.5
BATCHES = [[3, 1, 6, 0], [7, 2, 5, 4]]


class Network(nn.Module):
    """The golden numbers' network: noisy x [B, 6], log of the noise level and y [B, 3] -> x."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(21)

        def linear(inside: int, outside: int, bias: bool = True) -> nn.Linear:
            layer = nn.Linear(inside, outside, bias)
            layer.weight.data = torch.tensor(rng.standard_normal((outside, inside)) * 0.4).float()
            if bias:
                layer.bias.data = torch.tensor(rng.standard_normal(outside) * 0.1).float()
            return layer

        self.x_embedder, self.y_embedder = linear(7, 16), linear(3, 16, False)
        self.mlp = nn.ModuleDict({"mlp": linear(16, 16)})
        self.last = linear(16, 6)
        self.last.weight.data *= 0.3

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.x_embedder(torch.cat([x, sigma.log()[:, None]], 1)) + self.y_embedder(y))
        return self.last(h + torch.tanh(self.mlp["mlp"](h)))


class Draws:
    """Noise in the order in which the published code drew it."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(23)

    def __call__(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        sigma = torch.tensor(np.exp(self.rng.standard_normal(count) * 0.3)).float()
        return sigma[:, None] * torch.tensor(self.rng.standard_normal((count, 1, 2, 3))).float().flatten(1), sigma


def losses(
    network: Network, x: torch.Tensor, y: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """[B]: the weighted denoising loss of EDM (arXiv 2206.00364)."""
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    return weight * (network(x + noise, sigma, y) - x).square().mean(1)


def test_as_published() -> None:
    rng = np.random.default_rng(22)
    x, y = torch.tensor(rng.standard_normal((8, 6)) * 0.5).float(), torch.tensor(rng.standard_normal((8, 3))).float()
    clip, words = torch.tensor(rng.standard_normal(6) * 0.5).float(), torch.tensor(rng.standard_normal(3)).float()
    before, draws = Network(), Draws()
    noise, sigma = draws(10)

    def of_all(network: Network) -> torch.Tensor:  # [8 items, 10 draws]
        with torch.no_grad():
            rows = [losses(network, x[[i]].expand(10, -1), y[[i]].expand(10, -1), noise, sigma) for i in range(8)]
        return torch.stack(rows)

    after = copy.deepcopy(before)

    def step_losses(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = BATCHES[step % 2]
        retain, forget = draws(4), draws(4)
        return losses(after, x[rows], y[rows], *retain), losses(after, clip.expand(4, -1), words.expand(4, -1), *forget)

    trained = [after.y_embedder.weight, after.mlp["mlp"].weight]
    outcome = unlearn(trained, step_losses, NULL, Ascent(learning_rate=0.05 / 10))
    assert (outcome.steps, outcome.reached) == (GOLDEN["steps"], True)
    for name, values in GOLDEN["weights"].items():
        np.testing.assert_allclose(after.state_dict()[name].flatten()[:6], values, atol=2e-5)
    np.testing.assert_allclose(of_all(before).mean(1), GOLDEN["loss_before"], rtol=1e-4)
    np.testing.assert_allclose(of_all(after).mean(1), GOLDEN["loss_after"], rtol=1e-4)
    np.testing.assert_allclose(skew(of_all(before), of_all(after)).mean(1), GOLDEN["scores"], atol=2e-5)


def test_grid_of_times_as_published() -> None:
    np.testing.assert_allclose(1 - noisier_times(10, 0.7), GOLDEN["grid"], atol=1e-6)


@pytest.mark.parametrize(("limit", "steps", "reached"), [(3, 3, False), (0, 7, True), (9, 7, True)])
def test_stops_at_the_null_loss_or_on_the_limit(limit: int, steps: int, reached: bool) -> None:
    """One weight that the clip's loss follows: AdamW's first steps are as long as its rate."""
    weight = nn.Parameter(torch.zeros(1))
    settings = Ascent(learning_rate=0.1, weight_decay=0.0, max_steps=limit, tolerance=0.35)
    outcome = unlearn([weight], lambda _: (0 * weight, weight), 1.0, settings)
    assert (outcome.steps, outcome.reached) == (steps, reached)
    assert outcome.clip_loss == pytest.approx(0.1 * steps, abs=1e-5)
    assert weight.item() == pytest.approx(0.1 * steps, abs=1e-5)


def test_nothing_pushes_beyond_the_null_loss() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    outcome = unlearn([weight], lambda _: (weight, weight), 1.0, Ascent(learning_rate=0.1))
    assert (outcome.steps, weight.item()) == (0, 2.0)


def test_skew_is_bounded_and_odd() -> None:
    low, high = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([100.0, 0.5, 2.0])
    assert skew(low, high).abs().max() < 1
    torch.testing.assert_close(skew(low, high), -skew(high, low))
    assert skew(low, high)[1] == 0
