"""Rectified flow: the loss as stable-audio-tools trains it, and samplers that follow it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from precompute.config.run import BankSection, UnlearningSection
from precompute.gradients import finite_difference
from precompute.gradients.context import make_noise_bank
from precompute.gradients.steps import UnlearningStep
from precompute.model.diffusion import Items, Model, compute_schedule, rectified_flow, third_party
from support import tiny


@pytest.fixture(scope="module", params=["rectified_flow", "rf_denoiser"])
def flow(request: pytest.FixtureRequest, model: Model) -> Model:
    """The tiny model's weights under another objective."""
    config = copy.deepcopy(tiny.MODEL)
    config["model"]["diffusion"]["diffusion_objective"] = request.param
    network = third_party.create_network(config)
    network.load_state_dict(model.network.state_dict())
    return Model(network, config, model.clap, "0")


def test_frame_loss_is_the_flow_objective(flow: Model, items: Items) -> None:
    """The twin of DiffusionCondTrainingWrapper: alphas, sigmas = 1 - t, t; the target is noise - input."""
    item, t = items[[3]], torch.tensor([0.0, 0.3, 1.0])
    eps = torch.randn(3, flow.latent_channels, flow.frames, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        condition = flow.condition(item)
        found = flow.frame_loss(item.latents[0], condition, t, eps)
        for draw in range(3):
            noisy = item.latents[0] * (1 - t[draw]) + eps[draw] * t[draw]
            out = flow.network.model(noisy[None], t[draw : draw + 1], use_checkpointing=False, **condition)[0]
            wanted = (out - (eps[draw] - item.latents[0])).square().mean(0)
            assert torch.allclose(found[draw], wanted, rtol=1e-4, atol=1e-6)


def test_the_flow_runs_from_music_to_noise() -> None:
    z, eps = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    start, target = rectified_flow(z, torch.zeros(2), eps)
    end, _ = rectified_flow(z, torch.ones(2), eps)
    assert torch.equal(start, z) and torch.equal(end, eps) and torch.equal(target, eps - z)
    assert compute_schedule("rectified_flow", 0.25) == (0.75, 0.25)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp-2m"])
def test_samplers_end_at_the_music(flow: Model, items: Items, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that knows the flow to one latent: whatever the steps, the result is that latent."""
    z = items.latents[[0]]

    def perfect(x: torch.Tensor, t: torch.Tensor, **_: object) -> torch.Tensor:
        return (x - z) / t[:, None, None]  # eps - z, of x = (1 - t) z + t eps

    monkeypatch.setattr(flow.network.model, "forward", perfect)
    for steps in (1, 3, 8):
        assert torch.allclose(flow.generate(items[[0]], [7], steps, 1.0, sampler), z, atol=1e-4)


def test_euler_takes_the_steps_of_the_velocity(flow: Model, items: Items) -> None:
    item = items[[1]]
    x = torch.randn(flow.latent_channels, flow.frames, generator=torch.Generator().manual_seed(4))[None]
    condition = flow.condition(item)
    with torch.no_grad():
        for now, then in ((1.0, 0.5), (0.5, 0.0)):
            x = x + (then - now) * flow.network.model(x, torch.tensor([now]), use_checkpointing=False, **condition)
    assert torch.allclose(flow.generate(item, [4], 2, 1.0), x, atol=1e-4)


def test_scores_are_the_rise_of_the_flow_loss(flow: Model, items: Items) -> None:
    """Gradients, finite difference and forward derivative agree, as for the v-objective."""
    section = UnlearningSection(ascent_draws=2)
    bank = make_noise_bank(BankSection(replicates=2, strata=2))
    step = UnlearningStep(section, tracks=1)
    direction = step.compute_clip_gradients(flow, items[[0]], with_windows=False).mean(0)[0]
    tracks = items[[0, 5, 20]]
    dots = [float(tiny.scores_of_track(flow, tracks[[i]], direction[None], section, bank).mean()) for i in range(3)]
    naive = finite_difference.subtract_losses(flow, tracks, direction, section, bank, relative_step=1e-4)
    assert np.allclose(dots, naive.numpy(), rtol=0.05, atol=0.02 * max(map(abs, dots)))
    moments = step.compute_moments(flow, tracks[[1]], direction, bank)
    assert float(moments.mean()) == pytest.approx(dots[1], rel=1e-3)
