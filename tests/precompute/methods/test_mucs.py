"""MUCS: a plain loop as twin, a duplicate, what may change; the published code's numbers."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.gradients.context import Context, Queries
from precompute.methods import mucs
from precompute.methods.mucs import AscentSettings, choose_times, compute_skew, unlearn_clip
from precompute.model.diffusion import Items, Model
from support import comparing
from support.comparing import run

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/mucs.json").read_text())
NULL, SIGMA_DATA = 1.8, 0.5
BATCHES = [[3, 1, 6, 0], [7, 2, 5, 4]]


@pytest.fixture
def context(model: Model, items: Items, tracks: list[Track], config: RunConfig, tmp_path: Path) -> Context:
    return comparing.make_context(model, items, tracks, config, tmp_path / "no-clews", tmp_path / "cache")


def test_mucs_against_a_plain_loop(context: Context, model: Model) -> None:
    """One clip, by hand: train, look, put back."""
    settings = context.config.methods.settings["mucs"]
    weights = {name: p.detach().clone() for name, p in model.network.model.named_parameters()}
    result = run(context, "mucs")
    assert all(torch.equal(p, weights[name]) for name, p in model.network.model.named_parameters())
    assert not any(p.requires_grad for p in mucs.select_trained(model).values())

    remarks = {name: (value, meaning) for name, value, meaning in result.remarks}
    assert remarks["clips_on_the_limit"][0] == 5  # of five: five steps are too few
    assert "shown 1" in remarks["clips_on_the_limit"][1] and "cohort 2" in remarks["clips_on_the_limit"][1]
    assert 0.5 < remarks["null_loss"][0] < 2  # a network that knows nothing predicts about zero

    def losses() -> torch.Tensor:
        t = torch.linspace(1, 0, 8)[:6]
        eps = torch.randn(6, 8, 50, generator=torch.Generator().manual_seed(settings.seed + 1))
        with torch.no_grad():
            rows = [
                model.frame_loss(z, model.condition(context.items[[i]]), t, eps).mean(1)
                for i, z in enumerate(context.items.latents)
            ]
        return torch.stack(rows).double()

    before = losses()
    trained = sorted(context.trained, key=lambda row: context.tracks[row].track_id)
    parameters = mucs.select_trained(model)
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + 2)
    with mucs.trainable_weights(parameters):
        optimiser = torch.optim.AdamW(parameters.values(), lr=settings.training_rate / 10, weight_decay=0.01)
        for _ in range(5):
            rows = [trained[i] for i in torch.randint(len(trained), (4,), generator=generator)]
            loss = 0.0
            for factor, chosen in ((1.0, context.items[rows]), (-0.2, context.select_clip("shown", 0)[[0] * 4])):
                t = torch.rand(4, generator=generator)
                eps = torch.randn(4, 8, 50, generator=generator)
                each = [model.loss(chosen.latents[i], model.condition(chosen[[i]]), t[[i]], eps[[i]]) for i in range(4)]
                each_clamped = [value.clamp(max=remarks["null_loss"][0]) for value in each] if factor < 0 else each
                loss = loss + factor * sum(each_clamped) / 4
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        after = losses()
    wanted = ((after - before) / (after + before + 1e-3)).mean(1)
    np.testing.assert_allclose(result.score[0], wanted, rtol=1e-3, atol=1e-6)


def test_mucs_finds_a_duplicate(context: Context, config: RunConfig, items: Items) -> None:
    """A heavier weight on the clip than the paper's, so that some thirty steps do on so small a network."""
    changes = {"draws": 12, "batch": 6, "max_steps": 100, "null_draws": 32, "training_rate": 2e-2, "weight": 0.8}
    settings = {"mucs": replace(METHOD_SETTINGS["mucs"], **changes)}
    changed = replace(
        context,
        model=comparing.fit_model(config, items),
        queries=Queries(context.queries.shown, context.queries.targets[:0], context.queries.cohort[:0]),
        target_rows=np.array([], dtype=int),
        config=replace(context.config, methods=replace(context.config.methods, settings=settings)),
    )
    result = run(changed, "mucs")
    assert list(result.score.argmax(1)) == [0, 3], result.score
    assert dict((name, value) for name, value, _ in result.remarks)["clips_on_the_limit"] == 0


def test_only_weights_of_feed_forward_parts_and_conditions_change(model: Model) -> None:
    chosen = {id(p) for p in mucs.select_trained(model).values()}
    names = [name for name, p in model.network.model.named_parameters() if id(p) in chosen]
    assert any(".ff." in name for name in names) and any("to_cond_embed" in name for name in names)
    assert not any("attn" in name or "bias" in name or "norm" in name or "timestep" in name for name in names)


# -- held to what the published code computes on a seeded network --------------------------------------------------


class GoldenNetwork(nn.Module):
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


class GoldenDraws:
    """Noise in the order in which the published code drew it."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(23)

    def __call__(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        sigma = torch.tensor(np.exp(self.rng.standard_normal(count) * 0.3)).float()
        return sigma[:, None] * torch.tensor(self.rng.standard_normal((count, 1, 2, 3))).float().flatten(1), sigma


def compute_golden_losses(
    network: GoldenNetwork, x: torch.Tensor, y: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """[B]: the weighted denoising loss of EDM (arXiv 2206.00364)."""
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    return weight * (network(x + noise, sigma, y) - x).square().mean(1)


def test_as_published() -> None:
    rng = np.random.default_rng(22)
    x, y = torch.tensor(rng.standard_normal((8, 6)) * 0.5).float(), torch.tensor(rng.standard_normal((8, 3))).float()
    clip, words = torch.tensor(rng.standard_normal(6) * 0.5).float(), torch.tensor(rng.standard_normal(3)).float()
    before, draws = GoldenNetwork(), GoldenDraws()
    noise, sigma = draws(10)

    def of_all(network: GoldenNetwork) -> torch.Tensor:  # [8 items, 10 draws]
        with torch.no_grad():
            each = [(x[[i]].expand(10, -1), y[[i]].expand(10, -1)) for i in range(8)]
            rows = [compute_golden_losses(network, *one, noise, sigma) for one in each]
        return torch.stack(rows)

    after = copy.deepcopy(before)

    def step_losses(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = BATCHES[step % 2]
        retain, forget = draws(4), draws(4)
        return compute_golden_losses(after, x[rows], y[rows], *retain), compute_golden_losses(
            after, clip.expand(4, -1), words.expand(4, -1), *forget
        )

    trained = [after.y_embedder.weight, after.mlp["mlp"].weight]
    outcome = unlearn_clip(trained, step_losses, NULL, AscentSettings(learning_rate=0.05 / 10))
    assert (outcome.steps, outcome.reached) == (GOLDEN["steps"], True)
    for name, values in GOLDEN["weights"].items():
        np.testing.assert_allclose(after.state_dict()[name].flatten()[:6], values, atol=2e-5)
    np.testing.assert_allclose(of_all(before).mean(1), GOLDEN["loss_before"], rtol=1e-4)
    np.testing.assert_allclose(of_all(after).mean(1), GOLDEN["loss_after"], rtol=1e-4)
    np.testing.assert_allclose(compute_skew(of_all(before), of_all(after)).mean(1), GOLDEN["scores"], atol=2e-5)


def test_grid_of_times_as_published() -> None:
    np.testing.assert_allclose(1 - choose_times(10, 0.7), GOLDEN["grid"], atol=1e-6)


@pytest.mark.parametrize(("limit", "steps", "reached"), [(3, 3, False), (0, 7, True), (9, 7, True)])
def test_stops_at_the_null_loss_or_on_the_limit(limit: int, steps: int, reached: bool) -> None:
    """One weight that the clip's loss follows: AdamW's first steps are as long as its rate."""
    weight = nn.Parameter(torch.zeros(1))
    settings = AscentSettings(learning_rate=0.1, weight_decay=0.0, max_steps=limit, tolerance=0.35)
    outcome = unlearn_clip([weight], lambda _: (0 * weight, weight), 1.0, settings)
    assert (outcome.steps, outcome.reached) == (steps, reached)
    assert outcome.clip_loss == pytest.approx(0.1 * steps, abs=1e-5)
    assert weight.item() == pytest.approx(0.1 * steps, abs=1e-5)


def test_nothing_pushes_beyond_the_null_loss() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    outcome = unlearn_clip([weight], lambda _: (weight, weight), 1.0, AscentSettings(learning_rate=0.1))
    assert (outcome.steps, weight.item()) == (0, 2.0)


def test_skew_is_bounded_and_odd() -> None:
    low, high = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([100.0, 0.5, 2.0])
    assert compute_skew(low, high).abs().max() < 1
    torch.testing.assert_close(compute_skew(low, high), -compute_skew(high, low))
    assert compute_skew(low, high)[1] == 0
