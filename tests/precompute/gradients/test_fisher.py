"""The diagonal Fisher against a naive double loop."""

from __future__ import annotations

import math

import pytest
import torch

from precompute.config.run import FisherSection
from precompute.gradients.fisher import compute_fisher, invert_fisher
from precompute.gradients.flat_vectors import count_parameters, differentiate, unflatten
from precompute.model.diffusion import Items, Model, NoiseBank


def naive_fisher(model: Model, items: Items, settings: FisherSection, layers: str) -> torch.Tensor:
    """Squared gradients, one track and one draw at a time, summed in fp64."""
    parameters = model.parameters(layers)
    bank = NoiseBank(1, settings.draws, 1, settings.seed, settings.t_low)
    squares = []
    for row in range(len(items)):
        for stratum in range(settings.draws):
            t, eps = bank.cell(0, stratum, (model.latent_channels, model.frames))
            alpha, sigma = math.cos(math.pi / 2 * float(t)), math.sin(math.pi / 2 * float(t))
            z, condition = items.latents[row : row + 1], model.condition(items[[row]])
            predicted = model.network.model(alpha * z + sigma * eps, t, use_checkpointing=False, **condition)
            loss = torch.nn.functional.mse_loss(predicted, alpha * eps - sigma * z)
            parts = torch.autograd.grad(loss, list(parameters.values()))
            squares.append(torch.cat([g.double().flatten() ** 2 for g in parts]))
    return torch.stack(squares).mean(0)


@pytest.mark.parametrize(("layers", "t_low"), [("all", 0.0), ("to_kv", 0.0), ("to_kv", 0.5)])
def test_fisher_against_a_naive_double_loop(model: Model, items: Items, layers: str, t_low: float) -> None:
    settings = FisherSection(draws=2, seed=5, t_low=t_low)
    found = compute_fisher(model, items[:4], layers, settings)
    wanted = naive_fisher(model, items[:4], settings, layers)
    assert found.shape == (count_parameters(model.parameters(layers)),) and found.dtype == torch.float32
    assert float((found.double() - wanted).norm() / wanted.norm()) <= 1e-5
    assert bool((found >= 0).all())


def test_fisher_of_a_subset_takes_tracks_spread_evenly(
    model: Model, items: Items, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = FisherSection(draws=1, tracks=3)
    found = compute_fisher(model, items[:8], "to_kv", settings, "Fisher")
    wanted = naive_fisher(model, items[[0, 2, 5]], settings, "to_kv")
    assert float((found.double() - wanted).norm() / wanted.norm()) <= 1e-5
    assert "Fisher: 3 of 3" in capsys.readouterr().out


def test_damping_is_a_part_of_the_mean_fisher() -> None:
    fisher = torch.tensor([0.0, 1.0, 2.0, 5.0])  # mean 2
    assert torch.allclose(1 / invert_fisher(fisher, 0.1), torch.tensor([0.2, 1.2, 2.2, 5.2]))


def test_a_fisher_of_zeros_becomes_the_identity() -> None:
    assert torch.equal(invert_fisher(torch.zeros(3), 0.1), torch.ones(3))


def test_flat_vectors_come_back_in_their_shapes(model: Model) -> None:
    parameters = model.parameters("cross_attn")
    flat = torch.cat([p.detach().flatten() for p in parameters.values()])
    back = unflatten(flat, parameters)
    assert all(torch.equal(back[name], p) for name, p in parameters.items())
    loss = sum((p * i).sum() for i, p in enumerate(parameters.values()))
    wanted = torch.cat([torch.full((p.numel(),), float(i)) for i, p in enumerate(parameters.values())])
    assert torch.equal(differentiate(loss, parameters), wanted)
