"""A model that ships in fp16 scores like the one that was trained in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from precompute.config.run import RunConfig, UnlearningSection
from precompute.gradients.finite_difference import correlate_ranks
from precompute.gradients.fisher import compute_fisher, invert_fisher
from precompute.gradients.steps import UnlearningStep
from precompute.model.diffusion import Items, Model, NoiseBank, load_model
from support import tiny

BANK = NoiseBank(replicates=2, strata=2, draws_per_cell=1, seed=7)
SECTION = UnlearningSection(ascent_draws=4)


def scores(model: Model, items: Items, config: RunConfig) -> np.ndarray:
    """Scores of every track along the directions of the first four, [4, N]."""
    inverse_fisher = invert_fisher(compute_fisher(model, items[:16], "all", config.fisher), config.fisher.damping)
    step = UnlearningStep(SECTION, tracks=16)
    directions = [step.compute_directions(model, items[[i]], inverse_fisher, False).sum(1).mean(0) for i in range(4)]
    rows = [tiny.scores_of_track(model, items[[i]], torch.stack(directions), SECTION, BANK) for i in range(len(items))]
    return torch.stack(rows).mean(1).numpy().T


def test_shipped_weights_score_like_the_trained_ones(
    model: Model, items: Items, config: RunConfig, tiny_root: Path
) -> None:
    trained = load_model(config)
    average = torch.load(tiny_root / "train" / "diffusion.pt", weights_only=True)["average"]
    trained.network.load_state_dict(average, strict=False)
    differing = [n for n, p in model.network.named_parameters() if n in average and not torch.equal(p, average[n])]
    assert differing, "the shipped weights are rounded to fp16"
    shipped, full = scores(model, items, config), scores(trained, items, config)
    assert min(correlate_ranks(one, other) for one, other in zip(shipped, full, strict=True)) >= 0.999
    assert np.abs(shipped - full).max() <= 0.01 * np.abs(full).max()
