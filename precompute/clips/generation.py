"""The latents of clips: generated from prompts, or encoded from a user's sounds; cached by all that they depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from precompute.clips.own import encode_own_clips, read_own_clips
from precompute.clips.prompts import Prompt, choose_cohort_prompts, read_run_prompts
from precompute.common.cache import Cache, Entry
from precompute.common.progress import progress
from precompute.config.run import ClipsSection, RunConfig, fingerprint
from precompute.corpus.intake import Corpus
from precompute.model.batches import Items
from precompute.model.diffusion import Model

BATCH = 16  # clips a sampler call


def load_clips(model: Model, config: RunConfig, cache: Cache) -> tuple[list[Prompt], Items]:
    """The clips that are shown: those of the prompts, then the user's own sounds. Raises UserError."""
    prompts = read_run_prompts(config)
    own = read_own_clips(model, config.clips.audio, max((p.clip_id for p in prompts), default=0) + 1)
    parts = []
    if prompts:
        parts.append(generate_clips(model, prompts, config, cache, "clips"))
    if own:
        parts.append(_load_own_items(model, own, cache))
    return prompts + own, parts[0].join(parts[1]) if len(parts) > 1 else parts[0]


def load_cohort(
    model: Model, corpus: Corpus, config: RunConfig, cache: Cache, shown: Sequence[Prompt] | None = None
) -> Items:
    """Further clips, not shown, that tell how each track usually scores.

    `shown`: the prompts of the shown clips, whose captions are avoided; None: the run's.
    """
    longest = model.sample_size / model.sample_rate
    shown = read_run_prompts(config) if shown is None else shown
    prompts = choose_cohort_prompts(corpus.tracks, shown, config.clips.cohort, longest)
    return generate_clips(model, prompts, config, cache, "cohort clips")


def generate_clips(model: Model, prompts: Sequence[Prompt], config: RunConfig, cache: Cache, what: str) -> Items:
    """Clips of prompts by the run's sampler, from the cache where it has them; `what` names stage and progress."""
    rows = [(p.text, p.seconds, p.seed) for p in prompts]
    settings = (config.clips.sampler, config.clips.steps, config.clips.guidance)
    key = fingerprint(model.inputs_sha256, rows, settings)

    def compute() -> dict[str, np.ndarray]:
        return {"latents": generate_latents(model, prompts, config.clips, what).numpy()}

    latents = torch.from_numpy(cache.get(Entry(what.replace(" ", "-"), key), compute)["latents"])
    return model.items([p.text for p in prompts], [p.seconds for p in prompts], latents)


def generate_latents(model: Model, prompts: Sequence[Prompt], settings: ClipsSection, what: str) -> torch.Tensor:
    """Latents [Q, C, F]; the result for one prompt does not depend on what else is in its batch (to 1e-5)."""
    blank = torch.zeros(len(prompts), model.latent_channels, model.frames)
    items = model.items([p.text for p in prompts], [p.seconds for p in prompts], blank)
    batches = [list(range(start, min(start + BATCH, len(prompts)))) for start in range(0, len(prompts), BATCH)]
    parts = [
        model.generate(
            items[rows], [_seed(prompts[i]) for i in rows], settings.steps, settings.guidance, settings.sampler
        )
        for rows in progress(what, batches)
    ]
    return torch.cat(parts)


def _seed(prompt: Prompt) -> int:
    if prompt.seed is None:
        raise ValueError(f"clip {prompt.clip_id} is a sound, which is not generated")
    return prompt.seed


def _load_own_items(model: Model, own: list[Prompt], cache: Cache) -> Items:
    def compute() -> dict[str, np.ndarray]:
        latents, embeddings = encode_own_clips(model, own)
        return {"latents": latents.numpy(), "embeddings": np.zeros(0) if embeddings is None else embeddings.numpy()}

    cached = cache.get(Entry("own-clips", fingerprint(model.inputs_sha256, [p.key for p in own])), compute)
    embeddings = torch.from_numpy(cached["embeddings"]) if cached["embeddings"].size else None
    latents = torch.from_numpy(cached["latents"])
    return model.items([p.text for p in own], [p.seconds for p in own], latents, embeddings)
