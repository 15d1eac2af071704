"""MUCS on the tiny model: a plain loop as twin, a duplicate, what may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.methods import mucs
from precompute.methods.base import Context, Queries
from precompute.model.diffusion import Items, Model
from support import comparing
from support.comparing import run


@pytest.fixture
def context(model: Model, items: Items, tracks: list[Track], config: RunConfig, tmp_path: Path) -> Context:
    return comparing.make_context(model, items, tracks, config, tmp_path / "no-clews", tmp_path / "cache")


def test_mucs_against_a_plain_loop(context: Context, model: Model) -> None:
    """One clip, by hand: train, look, put back."""
    settings = context.config.methods.settings["mucs"]
    weights = {name: p.detach().clone() for name, p in model.network.model.named_parameters()}
    result = run(context, "mucs")
    assert all(torch.equal(p, weights[name]) for name, p in model.network.model.named_parameters())
    assert not any(p.requires_grad for p in mucs.changeable(model))

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
    parameters = mucs.changeable(model)
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + 2)
    with mucs.restored(parameters):
        optimiser = torch.optim.AdamW(parameters, lr=settings.training_rate / 10, weight_decay=0.01)
        for _ in range(5):
            rows = [trained[i] for i in torch.randint(len(trained), (4,), generator=generator)]
            loss = 0.0
            for factor, chosen in ((1.0, context.items[rows]), (-0.2, context.clip("shown", 0)[[0] * 4])):
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
    chosen = {id(p) for p in mucs.changeable(model)}
    names = [name for name, p in model.network.model.named_parameters() if id(p) in chosen]
    assert any(".ff." in name for name in names) and any("to_cond_embed" in name for name in names)
    assert not any("attn" in name or "bias" in name or "norm" in name or "timestep" in name for name in names)
