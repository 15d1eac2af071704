"""Scores of any clips by any methods of the catalogue, through the runner: what every judgement needs.

Tracks are heard as the autoencoder sounds them, as clips are: methods that listen find no codec between the two. Clips
are scored whole; influence over time in a clip is not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Cache
from precompute.config.methods import METHOD_SETTINGS
from precompute.config.run import NO_WINDOWS_S, RunConfig, fingerprint
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.gradients.track_pass import noise_bank
from precompute.methods.base import Context, GradientMethod, MethodResult, Queries
from precompute.methods.catalogue import CATALOGUE, build, method_class
from precompute.methods.run import Done, run_methods
from precompute.model.diffusion import Items, Model
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import mask_tracks
from precompute.train.lora import hash_tensors

OTHER_WEIGHTS = "it looks at checkpoints of a training, and these weights have none of their own"


@dataclass(frozen=True)
class Judged:
    """What became of the methods that are judged."""

    done: dict[str, Done]  # by name, in the order asked for
    skipped: dict[str, str]  # name -> why it was left out


def check_method_names(names: Sequence[str], option: str = "--method") -> tuple[str, ...]:
    """Each once, in order. Raises UserError naming one that is not in the catalogue, or where there is none."""
    if not names:
        raise UserError(f"{option}: name at least one method")
    for name in names:
        if name not in CATALOGUE:
            raise UserError(f"{option} {name}: unknown; known are {', '.join(CATALOGUE)}")
    return tuple(dict.fromkeys(names))


def follows_training(name: str) -> bool:
    """Whether a method looks at checkpoints of the training: it says nothing of weights that were made otherwise."""
    return hasattr(METHOD_SETTINGS[name], "checkpoints")


def looks_at_gradients(config: RunConfig) -> bool:
    """Whether any of the methods that are to run does."""
    return any(issubclass(method_class(name), GradientMethod) for name in config.methods.run)


def restrict_config(config: RunConfig, names: Sequence[str], tracks: int, other_weights: bool = False) -> RunConfig:
    """The run's settings with these methods, clips whole; `tracks` is the number of training tracks.

    A method that builds on others (the ensemble) gets those of the run's own that it builds on, too; with
    `other_weights`, not those that look at checkpoints of the training.
    """
    config = replace(config, unlearning=replace(config.unlearning, window_s=NO_WINDOWS_S))
    judged = [build(name, config, tracks) for name in names]
    able = [name for name in config.methods.run if not (other_weights and follows_training(name))]
    helpers = [name for name in able if any(method.builds_on(name) for method in judged)]
    return replace(config, methods=replace(config.methods, run=tuple(dict.fromkeys([*names, *helpers]))))


def make_scoring_context(
    model: Model,
    tracks: Sequence[Track],
    items: Items,
    clips: Items,
    cohort: Items,
    config: RunConfig,
    cache: Cache,
    fisher: torch.Tensor | None = None,
    recordings: dict[Any, Any] | None = None,
) -> Context:
    """What the methods look at, named by content: clips [Q >= 1], a cohort [K], `items` [N] of `tracks`.

    `config`: as `restrict_config` gives it. `fisher` [P]: curvature known already; None = of the training tracks.
    `recordings`: what methods that listen already know, shared by contexts of one autoencoder.
    """
    of_tracks = [(track.track_id, track.split, track.planted) for track in tracks]
    known = "" if fisher is None else hash_tensors({"fisher": fisher})
    track_key = fingerprint(model.inputs_sha256, fingerprint_items(items), of_tracks, known)
    return Context(
        model=model,
        tracks=[replace(track, path=None) for track in tracks],
        items=items,
        queries=Queries(shown=clips, targets=items[[]], cohort=cohort),
        target_rows=np.zeros(0, dtype=int),
        bank=noise_bank(config.bank),
        config=config,
        cache=cache,
        key=fingerprint(track_key, fingerprint_items(clips), fingerprint_items(cohort)),
        track_key=track_key,
        memo={"recordings": {} if recordings is None else recordings} | ({} if fisher is None else {"fisher": fisher}),
    )


def run_named_methods(context: Context, names: Sequence[str]) -> Judged:
    """Run the context's methods in one pass; those of `names` are what is asked for. Raises UserError where none can.

    A method that cannot run here is left out with its reason, as in a run.
    """
    outcome = run_methods(context, context.config.methods.run)
    found = {one.method.name: one for one in outcome.done}
    done = {name: found[name] for name in names if name in found}
    skipped = {name: reason for name, _, reason in outcome.skipped if name in names}
    if not done:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    return Judged(done, skipped)


def normalise_scores(result: MethodResult, tracks: Sequence[Track]) -> dict[str, np.ndarray]:
    """Scores [Q, N] raw, and normalised over the cohort."""
    is_train, is_decoy, _ = mask_tracks(tracks)
    raw = result.score
    return {"raw": raw, "normalised": Normalisation.fit(result.cohort, is_train, is_decoy).apply(raw)}


def fingerprint_items(items: Items) -> str:
    """A fingerprint of everything in items; embeddings follow from the prompts."""
    tensors = {"latents": items.latents, "valid_frames": items.valid_frames, "times": items.times()}
    return fingerprint(hash_tensors(tensors), items.prompts)
