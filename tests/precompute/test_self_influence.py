"""A track that is unlearned must find itself, once the model has learnt anything at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from precompute.config import FisherSection, RunConfig, UnlearningSection
from precompute.fisher import diagonal_fisher, inverse
from precompute.methods.unlearning import Unlearning
from precompute.model import Items, Model, NoiseBank
from precompute.stages import load_model
from precompute.train.diffusion import DiffusionLoss, mean_loss
from precompute.train.loop import LoopSettings, fit
from tiny import scores_of_track

TARGETS = [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.fixture(scope="module")
def fitted(config: RunConfig, items: Items, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny transformer after 400 more steps: 20 are too few to know one track from another."""
    twin = load_model(config)
    twin.network.model.requires_grad_(True)
    twin.network.conditioner.requires_grad_(True)
    settings = LoopSettings(steps=400, learning_rate=2e-3, warmup_steps=20, ema_decay=0.98, save_every=400, bf16=False)
    fit(
        "longer",
        twin.network,
        DiffusionLoss(twin.network, twin, items[:16], batch=24),
        settings,
        tmp_path_factory.mktemp("fit"),
    )
    twin.network.requires_grad_(False)
    return twin


def test_an_unlearned_track_finds_itself(fitted: Model, items: Items) -> None:
    section, bank = UnlearningSection(ascent_draws=32), NoiseBank(4, 4, 1, seed=303)
    curvature = inverse(diagonal_fisher(fitted, items[:16], "all", FisherSection(draws=4)), 0.1)
    method = Unlearning(section, tracks=16)
    steps = torch.stack([method.directions(fitted, items[[i]], curvature, False).sum(1).mean(0) for i in TARGETS])
    trained = range(16)
    scores = torch.stack([scores_of_track(fitted, items[[i]], steps, section, bank).mean(0) for i in trained], dim=1)
    own = scores[range(len(TARGETS)), TARGETS]
    places = (scores > own[:, None]).sum(1) + 1
    assert bool((own > 0).all())
    assert float(places.double().mean()) <= 1.5  # of 16; chance is 8.5


def test_the_fitted_model_tells_tracks_from_decoys_by_their_loss(fitted: Model, items: Items) -> None:
    bank = NoiseBank(2, 4, 1, seed=1)
    losses = [mean_loss(fitted, group, bank) for group in (items[:16], items[16:])]
    assert np.isfinite(losses).all() and losses[0] < losses[1]
