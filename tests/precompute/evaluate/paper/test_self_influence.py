"""A track that is unlearned must find itself, once the model has learnt anything at all."""

from __future__ import annotations

import numpy as np
import torch

from precompute.config.run import FisherSection, UnlearningSection
from precompute.gradients.fisher import compute_fisher, invert_fisher
from precompute.gradients.steps import UnlearningStep
from precompute.model.diffusion import Items, Model, NoiseBank
from precompute.train.diffusion import measure_mean_loss
from support.tiny import scores_of_track

TARGETS = [0, 2, 4, 6, 8, 10, 12, 14]


def test_an_unlearned_track_finds_itself(fitted: Model, items: Items) -> None:
    section, bank = UnlearningSection(ascent_draws=32), NoiseBank(4, 4, 1, seed=303)
    curvature = invert_fisher(compute_fisher(fitted, items[:16], "all", FisherSection(draws=4)), 0.1)
    step = UnlearningStep(section, tracks=16)
    steps = torch.stack([step.compute_directions(fitted, items[[i]], curvature, False).sum(1).mean(0) for i in TARGETS])
    trained = range(16)
    scores = torch.stack([scores_of_track(fitted, items[[i]], steps, section, bank).mean(0) for i in trained], dim=1)
    own = scores[range(len(TARGETS)), TARGETS]
    places = (scores > own[:, None]).sum(1) + 1
    assert bool((own > 0).all())
    assert float(places.double().mean()) <= 1.5  # of 16; chance is 8.5


def test_the_fitted_model_tells_tracks_from_decoys_by_their_loss(fitted: Model, items: Items) -> None:
    bank = NoiseBank(2, 4, 1, seed=1)
    losses = [measure_mean_loss(fitted, group, bank) for group in (items[:16], items[16:])]
    assert np.isfinite(losses).all() and losses[0] < losses[1]
