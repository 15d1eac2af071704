"""D-TRAK against numbers from the published code on seeded random weights (golden/dtrak.json says which code)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from precompute.gradients.item_gradients import compute_objective
from precompute.gradients.sketches import Ridge, score_by_ridge

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "dtrak.json").read_text())


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Gradients of the mean squared output, mean over times, of 5 tracks and 3 clips: [8, P]."""
    rng = np.random.RandomState(GOLDEN["seed"])
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(0.5 * rng.standard_normal(tuple(parameter.shape))))
    z = torch.from_numpy(rng.standard_normal((8, 4))).float()
    noise = torch.from_numpy(rng.standard_normal((3, 8, 4))).float()
    rows = []
    for item in range(8):
        total = torch.zeros(sum(p.numel() for p in network.parameters()))
        for k, t in enumerate(GOLDEN["times"]):
            seen = torch.cat([z[item] + t * noise[k, item], torch.full((2,), t)])[None]
            scalar = compute_objective("square", network(seen)[:, :, None], noise[k, item][None, :, None], None)
            parts = torch.autograd.grad(scalar, list(network.parameters()))
            total += torch.cat([part.flatten() for part in parts]) / len(GOLDEN["times"])
        rows.append(total.double().numpy())
    return np.array(rows)


def test_the_features_are_the_published_ones(features: np.ndarray) -> None:
    assert np.allclose(features[:, :6], GOLDEN["features"], atol=1e-5)
    assert np.allclose(np.linalg.norm(features, axis=1), GOLDEN["lengths"], rtol=1e-5)


@pytest.mark.parametrize("form", ["tracks", "sketch"])
def test_the_scores_are_the_published_ones(features: np.ndarray, form: str) -> None:
    tracks, clips = features[:5], features[5:]
    ridge = Ridge(tracks, GOLDEN["lambda"] / np.square(tracks).sum(1).mean(), form)  # theirs is absolute
    cells, cohort = score_by_ridge(ridge, clips[:, None], clips, tracks[:, None])
    wanted = np.array(GOLDEN["scores"])
    assert np.allclose(cells[:, :, 0, 0, 0], wanted, atol=2e-4) and np.allclose(cohort, wanted, atol=2e-4)
