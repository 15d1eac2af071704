"""Fidelity after unlearning: Fréchet distance of the model's clips to the training tracks, before and after a step.

Clips of some captions are made before and after an unlearning step of stated length, with the same seeds, and compared
with training tracks. The space is the run's CLAP, on its leading directions; the paper's openl3 needs weights that are
not at hand, so that its numbers do not compare with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.common.progress import progress
from precompute.common.results import Row
from precompute.common.sequences import spread_evenly
from precompute.config.run import UnlearningSection
from precompute.errors import UserError
from precompute.evaluate.quality.distances import compute_frechet_distance, fit_principal_basis
from precompute.gradients.context import Context
from precompute.gradients.item_gradients import is_clip_masked
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.weights import add_to_weights, measure_length, restored_weights
from precompute.model.diffusion import Items

LEAST = 8  # clips


@dataclass(frozen=True)
class FidelitySettings:
    """Number of clips, and length of the unlearning step."""

    clips: int  # before and after
    relative_step: float  # length of the unlearning step, relative to the weights


def add_distances(
    context: Context,
    inverse_fisher: Callable[[str], torch.Tensor],
    variants: Sequence[tuple[str, str]],
    rows: list[Row],
    target: Items,
    settings: FidelitySettings,
) -> list[Row]:
    """The rows with `frechet` after unlearning one target, and `frechet_before`; those of one step alone.

    One value a (layer group, mask) of `variants`; masks that unlearn alike share it. `inverse_fisher`: of a layer
    group. Raises UserError below 8 clips, or without a CLAP.
    """
    if settings.clips < LEAST:
        raise UserError(f"--fd {settings.clips}: a Fréchet distance needs at least {LEAST} clips")
    chosen = [context.trained[row] for row in spread_evenly(len(context.trained), settings.clips)]
    prompts = [
        Prompt(0, context.tracks[row].caption, float(context.items.seconds[row]), seeds.FIDELITY + row)
        for row in chosen
    ]
    reference = _embed_decoded(context, context.items[chosen], "tracks")
    basis = fit_principal_basis(reference)

    def measure_distance(what: str) -> float:
        latents = generate_latents(context.model, prompts, context.config.clips, what)
        made = context.model.items([p.text for p in prompts], [p.seconds for p in prompts], latents)
        return compute_frechet_distance(basis.project(_embed_decoded(context, made, what)), basis.project(reference))

    before, after = measure_distance("clips before unlearning"), {}
    for layers, mask in variants:
        key = layers, is_clip_masked(mask)
        if key not in after:
            section = replace(context.config.unlearning, layers=layers, mask=mask, steps=1, relative_step=0.0)
            what = f"clips after unlearning {layers}, {'masked' if key[1] else 'unmasked'}"
            with _unlearned(context, section, target, inverse_fisher(layers), settings.relative_step):
                after[key] = measure_distance(what)
    return [
        row | {"frechet_before": before, "frechet": after[row["layers"], is_clip_masked(row["mask"])]}
        if row["steps"] == 1
        else row
        for row in rows
    ]


def _embed_decoded(context: Context, items: Items, what: str) -> np.ndarray:
    """CLAP embeddings of items decoded from latents, [N, E]. Raises UserError without a CLAP."""
    import soxr

    clap, model, rows = context.model.clap, context.model, []
    if clap is None:
        raise UserError("[model] clap: distances of clips are measured by CLAP embeddings; name the CLAP's folder")
    for row in progress(f"CLAP of {what}", range(len(items))):
        wave = model.decode(items.latents[row])[:, : max(1, round(float(items.seconds[row]) * model.sample_rate))]
        rows.append(clap.audio([soxr.resample(wave.mean(0), model.sample_rate, clap.sample_rate)])[0].numpy())
    return np.stack(rows)


@contextmanager
def _unlearned(
    context: Context, section: UnlearningSection, target: Items, inverse_fisher: torch.Tensor, relative: float
) -> Iterator[None]:
    """Let the model have unlearned the target within the block; its weights are put back exactly."""
    model = context.model
    step, parameters = UnlearningStep(section, len(context.trained)), model.parameters(section.layers)
    direction = step.compute_directions(model, target, inverse_fisher, False).sum(1).mean(0)
    factor = float(relative * measure_length(parameters) / direction.double().norm().clamp(min=1e-300))
    with restored_weights(parameters):
        add_to_weights(parameters, direction, factor)
        yield
