"""Six tracks of the tiny corpus and a few clips, as the comparing methods and MUCS see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from precompute.common.cache import Cache
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import RunConfig
from precompute.corpus.tracks import Track
from precompute.gradients.context import Context, Queries
from precompute.methods import mucs
from precompute.methods.base import MethodResult
from precompute.methods.catalogue import build_method
from precompute.model.clews import Clews, ClewsShape, save_clews
from precompute.model.diffusion import Items, Model, NoiseBank, load_model

BANK = NoiseBank(replicates=2, strata=2, draws_per_cell=1, seed=7)
ROWS = [3, 20, 0, 9, 14, 28]  # training tracks and decoys; the last has no audio, so all are decoded
NAMES = ["clap", "clews", "patches", "lpips", "rps", "rps-ridge", "mucs"]
FAST = {"mucs": {"draws": 6, "batch": 4, "max_steps": 5, "null_draws": 8}, "lpips": {"layers": 2}}


def write_clews(path: Path) -> Path:
    """A tiny CLEWS with random weights."""
    torch.manual_seed(0)
    shape = ClewsShape(
        window_s=1,
        hop_s=0.5,
        front=(4, 8),
        blocks=(1, 1, 1, 1),
        channels=(8, 8, 8, 8),
        strides=(1, 2, 2, 1),
        dimension=8,
    )
    save_clews(Clews(shape), path)
    return path


def fit_model(config: RunConfig, items: Items) -> Model:
    """A copy of the tiny model that has learnt the six tracks: where little is learnt, little can be unlearnt."""
    model = load_model(config)
    network, generator = model.network.model, torch.Generator().manual_seed(0)
    network.requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(150):
        rows = [ROWS[i] for i in torch.randint(len(ROWS), (8,), generator=generator)]
        loss = mucs.compute_item_losses(model, items[rows], *mucs.draw_noise(model, 8, generator)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.requires_grad_(False)
    return model


def make_context(
    model: Model, items: Items, tracks: list[Track], config: RunConfig, clews: Path, folder: Path
) -> Context:
    """The clips are two of the tracks (exact duplicates), one target, two others as cohort."""
    settings = {name: replace(METHOD_SETTINGS[name], **FAST.get(name, {})) for name in NAMES}
    settings["clews"] = replace(settings["clews"], checkpoint=str(clews))
    return Context(
        model=model,
        tracks=[tracks[row] for row in ROWS],
        items=items[ROWS],
        queries=Queries(shown=items[[3, 9]], targets=items[[0]], cohort=items[[5, 6]]),
        target_rows=np.array([2]),
        bank=BANK,
        config=replace(config, methods=replace(config.methods, settings=settings)),
        cache=Cache(folder),
        key="test",
        track_key="test",
    )


def run(context: Context, name: str) -> MethodResult:
    """Scores of a method, checked as a run checks them."""
    method = build_method(name, context.config, len(context.trained))
    assert method.find_obstacle(context) is None
    own = method.focus(context)
    result = method.compute_scores(own, {})
    result.check(own)
    return result
