"""Scores of any clips and tracks by any methods of the catalogue, for the judgements by known truths and controls.

Tracks are decoded from latents, as clips are, so that methods that listen find no codec between the two. Clips are
scored whole: influence over time in a clip is not judged. Higher score = stronger influence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Cache
from precompute.config.methods import follows_training
from precompute.config.run import NO_WINDOWS_S, RunConfig, fingerprint
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.exemplars.low_rank import hash_tensors
from precompute.gradients.context import Context, Queries, make_noise_bank
from precompute.methods.base import GradientMethod, MethodResult
from precompute.methods.catalogue import CATALOGUE, build_method, find_class
from precompute.methods.run import MethodRun, run_methods
from precompute.model.diffusion import Items, Model
from precompute.significance.normalisation import Normalisation

OTHER_WEIGHTS = "it looks at checkpoints of a training, and these weights have none of their own"


@dataclass(frozen=True)
class ScoringInputs:
    """Clips and tracks that are scored by one set of weights."""

    tracks: Sequence[Track]  # [N]
    items: Items  # [N], of `tracks`
    clips: Items  # [Q >= 1]
    cohort: Items  # [K]
    fisher: torch.Tensor | None = None  # [P], curvature that is known already; None = that of the training tracks


@dataclass(frozen=True)
class JudgedMethods:
    """The methods that ran, and those that could not."""

    done: dict[str, MethodRun]  # by name, in the order asked for
    skipped: dict[str, str]  # name -> reason


def check_method_names(names: Sequence[str], option: str = "--method") -> tuple[str, ...]:
    """The names, each once, in order. Raises UserError where one is not in the catalogue, or there is none."""
    if not names:
        raise UserError(f"{option}: name at least one method")
    for name in names:
        if name not in CATALOGUE:
            raise UserError(f"{option} {name}: unknown; known are {', '.join(CATALOGUE)}")
    return tuple(dict.fromkeys(names))


def looks_at_gradients(config: RunConfig) -> bool:
    """True where any method that is to run looks at gradients."""
    return any(issubclass(find_class(name), GradientMethod) for name in config.methods.run)


def restrict_config(config: RunConfig, names: Sequence[str], tracks: int, other_weights: bool = False) -> RunConfig:
    """The run's settings with these methods and whole clips; `tracks` is the number of training tracks.

    A method that builds on others (the ensemble) also gets the run's own methods that it builds on; with
    `other_weights`, not those that look at checkpoints of the training.
    """
    config = replace(config, unlearning=replace(config.unlearning, window_s=NO_WINDOWS_S))
    methods = [build_method(name, config, tracks) for name in names]
    able = [name for name in config.methods.run if not (other_weights and follows_training(name))]
    helpers = [name for name in able if any(method.builds_on(name) for method in methods)]
    return replace(config, methods=replace(config.methods, run=tuple(dict.fromkeys([*names, *helpers]))))


def make_scoring_context(
    model: Model,
    inputs: ScoringInputs,
    config: RunConfig,
    cache: Cache,
    recordings: dict[Any, Any] | None = None,
) -> Context:
    """The context of the methods, its keys made from the content of the inputs; `config` as of `restrict_config`.

    `recordings`: what methods that listen know already, shared by contexts of one autoencoder.
    """
    roles = [(track.track_id, track.split, track.planted) for track in inputs.tracks]
    known = "" if inputs.fisher is None else hash_tensors({"fisher": inputs.fisher})
    track_key = fingerprint(model.inputs_sha256, fingerprint_items(inputs.items), roles, known)
    memo: dict[str, Any] = {"recordings": {} if recordings is None else recordings}
    if inputs.fisher is not None:
        memo["fisher"] = inputs.fisher
    return Context(
        model=model,
        tracks=[replace(track, path=None) for track in inputs.tracks],
        items=inputs.items,
        queries=Queries(shown=inputs.clips, targets=inputs.items[[]], cohort=inputs.cohort),
        target_rows=np.zeros(0, dtype=int),
        bank=make_noise_bank(config.bank),
        config=config,
        cache=cache,
        key=fingerprint(track_key, fingerprint_items(inputs.clips), fingerprint_items(inputs.cohort)),
        track_key=track_key,
        memo=memo,
    )


def run_named_methods(context: Context, names: Sequence[str]) -> JudgedMethods:
    """Run the context's methods in one pass and return those of `names`. Raises UserError where none can run.

    Methods that cannot run are skipped; the result holds why.
    """
    outcome = run_methods(context, context.config.methods.run)
    by_name = {one.method.name: one for one in outcome.completed}
    done = {name: by_name[name] for name in names if name in by_name}
    skipped = {name: reason for name, _, reason in outcome.skipped if name in names}
    if not done:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    return JudgedMethods(done, skipped)


def normalise_scores(result: MethodResult) -> dict[str, np.ndarray]:
    """Scores [Q, N] by kind: 'raw', and 'normalised' over the cohort."""
    raw = result.score
    return {"raw": raw, "normalised": Normalisation.fit(result.cohort).apply(raw)}


def fingerprint_items(items: Items) -> str:
    """A fingerprint of everything in items; embeddings follow from the prompts."""
    tensors = {"latents": items.latents, "valid_frames": items.valid_frames, "times": items.times}
    return fingerprint(hash_tensors(tensors), items.prompts)
