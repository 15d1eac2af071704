"""The verb `verify`: recomputes a few scores of a store by the naive twin, from the shipped audio and weights."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from precompute.clips.generation import load_clips
from precompute.common.cache import Cache
from precompute.common.sequences import spread_evenly
from precompute.config.run import RunConfig
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.errors import UserError
from precompute.gradients.context import make_noise_bank
from precompute.gradients.finite_difference import audit_clip
from precompute.gradients.fisher import invert_fisher, load_fisher
from precompute.gradients.steps import UnlearningStep
from precompute.methods.unlearning import Unlearning
from precompute.model.diffusion import load_model

LEAST_RHO = 0.99  # Spearman correlation of a clip's scores with finite differences


def verify_store(config: RunConfig, store_path: Path, clips: int, tracks: int) -> None:
    """Compare scores of `clips` clips x `tracks` tracks with finite differences; prints the rank correlation rho.

    Raises UserError where the store is of another model, or its scores are not reproduced (rho < 0.99).
    """
    from explorer.store import Store, StoreError

    model = load_model(config)
    try:
        store = Store(store_path)
    except StoreError as error:
        raise UserError(str(error)) from error
    with contextlib.closing(store):
        made_with = store.runs.read_latest().model_sha256
        if made_with != model.sha256:
            raise UserError(
                f"{store_path}: made with another model ({made_with[:12]}, here {model.sha256[:12]});"
                " run `python -m precompute run --config precompute/configs/demo-full.toml`"
            )
        method_id = next(m.method_id for m in store.runs.list_methods() if m.name == Unlearning.name)
        shown = [c.clip_id for c in store.clips.list_scored() if c.kind == "generated"]
        stored = {
            clip_id: store.scores.read_frame(method_id, clip_id).set_index("track_id")["score"] for clip_id in shown
        }
    cache = Cache(Path(config.output.work) / "cache")
    corpus = load_corpus(config)
    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    inverse_fisher = invert_fisher(load_fisher(model, items[trained], config, cache, key), config.fisher.damping)
    prompts, clip_items = load_clips(model, config, cache)
    step = UnlearningStep(config.unlearning, len(trained))
    rows = spread_evenly(len(corpus.tracks), tracks)
    worst = 1.0
    for q in spread_evenly(len(prompts), clips):
        direction = step.compute_directions(model, clip_items[[q]], inverse_fisher, False).sum(1).mean(0)
        by_track = stored[prompts[q].clip_id]
        fast = np.array([by_track[corpus.tracks[row].track_id] for row in rows])
        rhos = audit_clip(model, items[rows], direction, fast, config.unlearning, make_noise_bank(config.bank))
        print(
            f"clip {prompts[q].clip_id}: rho {rhos[0]:.4f} (relative step 1e-5), {rhos[1]:.4f} (1e-4), {tracks} tracks"
        )
        worst = min(worst, max(rhos))
    if worst < LEAST_RHO:
        raise UserError(
            f"{store_path}: its scores are not reproduced by the naive twin (rho {worst:.4f} < {LEAST_RHO})"
        )
    print(f"verified: {clips} clips x {tracks} tracks of {store_path.name}, worst rho {worst:.4f}")
