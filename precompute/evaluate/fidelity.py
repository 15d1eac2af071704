"""Does unlearning leave the model's sound alone? Fréchet distance of its generations to the training tracks.

The clips of some captions are made before and after an unlearning step of stated length, with the same seeds, and held
against training tracks. The space is the run's CLAP, on its leading directions: openl3 where the paper has it needs
weights that are not at hand, so that its numbers do not compare with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from precompute.cache import progress
from precompute.clips import Prompt, generate
from precompute.curvature import kept_fisher
from precompute.errors import UserError
from precompute.evaluate.distances import frechet_distance, principal
from precompute.evaluate.result import Row
from precompute.fisher import evenly, inverse, unflatten
from precompute.methods.base import Context
from precompute.methods.unlearning import Unlearning
from precompute.model import Items

SEED = 4_000_000
LEAST = 8


def distance_rows(context: Context, sections: Sequence[Any], rows: list[Row], targets: Items, count: int) -> list[Row]:
    """`rows` with `frechet` after unlearning the first target, and `frechet_before`.

    One value a layer group and mask: of one step as long, relative to the weights, as the first of several steps.
    """
    if count < LEAST:
        raise UserError(f"--fd {count}: a Fréchet distance needs at least {LEAST} clips")
    chosen = [context.trained[row] for row in evenly(len(context.trained), count)]
    prompts = [Prompt(0, context.tracks[row].caption, float(context.items.seconds[row]), SEED + row) for row in chosen]
    reference = _embeddings(context, context.items[chosen], "tracks")
    basis = principal(reference)
    longest = max((section.relative_step for section in sections), default=0.0) or 1e-3

    def distance(what: str) -> float:
        latents = generate(context.model, prompts, context.config.clips, what)
        made = context.model.items([p.text for p in prompts], [p.seconds for p in prompts], latents)
        return frechet_distance(basis.project(_embeddings(context, made, what)), basis.project(reference))

    before, after = distance("clips before unlearning"), {}
    for section in sections:
        way = section.layers, section.mask
        if section.steps == 1 and way not in after:
            after[way] = _after(context, section, targets[[0]], longest, lambda way=way: distance(f"clips after {way}"))
    return [
        row | {"frechet_before": before, "frechet": after[row["layers"], row["mask"]]}
        if (row["layers"], row["mask"]) in after
        else row
        for row in rows
    ]


def _embeddings(context: Context, items: Items, what: str) -> np.ndarray:
    """CLAP embeddings of items as the autoencoder sounds them, [N, E]."""
    import soxr

    clap, model, rows = context.model.clap, context.model, []
    for row in progress(f"CLAP of {what}", range(len(items))):
        wave = model.decode(items.latents[row])[:, : max(1, round(float(items.seconds[row]) * model.sample_rate))]
        rows.append(clap.audio([soxr.resample(wave.mean(0), model.sample_rate, clap.sample_rate)])[0].numpy())
    return np.stack(rows)


def _after(context: Context, section: Any, target: Items, relative: float, measure: Any) -> float:
    """What `measure` returns at the changed weights, which are put back exactly."""
    model = context.model
    plain = replace(section, steps=1, relative_step=0.0)
    method = Unlearning(plain, len(context.trained))
    parameters = model.parameters(section.layers)
    config = replace(context.config, unlearning=plain)
    fisher = kept_fisher(model, context.items[context.trained], config, context.cache, context.track_key)
    direction = method.directions(model, target, inverse(fisher, config.fisher.damping), False).sum(1).mean(0)
    kept = {name: p.detach().clone() for name, p in parameters.items()}
    length = torch.sqrt(sum(p.double().square().sum() for p in kept.values()))
    factor = float(relative * length / direction.double().norm().clamp(min=1e-300))
    try:
        with torch.no_grad():
            for name, change in unflatten(direction, parameters).items():
                parameters[name].add_(change.to(model.device), alpha=factor)
        return float(measure())
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)
