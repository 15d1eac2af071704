"""Does unlearning leave the model's sound alone? Fréchet distance of its generations to the training tracks.

The clips of some captions are made before and after an unlearning step of stated length, with the same seeds, and held
against training tracks. The space is the run's CLAP, on its leading directions: openl3 where the paper has it needs
weights that are not at hand, so that its numbers do not compare with these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.common.progress import progress
from precompute.common.results import Row
from precompute.common.sequences import spread_evenly
from precompute.errors import UserError
from precompute.evaluate.quality.distances import compute_frechet_distance, fit_principal_basis
from precompute.gradients.context import Context
from precompute.gradients.item_gradients import is_clip_masked
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.weights import add_to_weights, measure_length, restored_weights
from precompute.model.diffusion import Items

LEAST = 8


def add_distances(
    context: Context,
    inverse_fisher: Callable[[str], torch.Tensor],
    ways: Sequence[tuple[str, str]],
    rows: list[Row],
    targets: Items,
    options: Any,
) -> list[Row]:
    """`rows` with `frechet` after unlearning the first target, and `frechet_before`.

    One value a layer group and mask of `ways`; masks that unlearn alike share it. The step is as long, relative to the
    weights, as the first of several steps. `inverse_fisher`: of a layer group; `options.fd`: clips.
    """
    if options.fd < LEAST:
        raise UserError(f"--fd {options.fd}: a Fréchet distance needs at least {LEAST} clips")
    chosen = [context.trained[row] for row in spread_evenly(len(context.trained), options.fd)]
    prompts = [
        Prompt(0, context.tracks[row].caption, float(context.items.seconds[row]), seeds.FIDELITY + row)
        for row in chosen
    ]
    reference = _embeddings(context, context.items[chosen], "tracks")
    basis = fit_principal_basis(reference)

    def distance(what: str) -> float:
        latents = generate_latents(context.model, prompts, context.config.clips, what)
        made = context.model.items([p.text for p in prompts], [p.seconds for p in prompts], latents)
        return compute_frechet_distance(basis.project(_embeddings(context, made, what)), basis.project(reference))

    before, after = distance("clips before unlearning"), {}
    for layers, mask in ways:
        way = layers, is_clip_masked(mask)
        if way not in after:
            section = replace(context.config.unlearning, layers=layers, mask=mask, steps=1, relative_step=0.0)
            what = f"clips after unlearning {layers}, {'masked' if way[1] else 'unmasked'}"
            measure = lambda what=what: distance(what)  # noqa: E731
            after[way] = _after(context, section, targets[[0]], inverse_fisher(layers), options.relative_step, measure)
    return [
        row | {"frechet_before": before, "frechet": after[row["layers"], is_clip_masked(row["mask"])]}
        if row["steps"] == 1
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


def _after(
    context: Context, section: Any, target: Items, inverse_fisher: torch.Tensor, relative: float, measure: Any
) -> float:
    """What `measure` returns at the changed weights, which are put back exactly."""
    model = context.model
    step, parameters = UnlearningStep(section, len(context.trained)), model.parameters(section.layers)
    direction = step.compute_directions(model, target, inverse_fisher, False).sum(1).mean(0)
    factor = float(relative * measure_length(parameters) / direction.double().norm().clamp(min=1e-300))
    with restored_weights(parameters):
        add_to_weights(parameters, direction, factor)
        return float(measure())
