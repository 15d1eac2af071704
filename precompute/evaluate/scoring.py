"""Scores of any clips by any registered method, through the engine: what every judgement needs."""

from __future__ import annotations

from dataclasses import replace

import torch

from precompute.cache import Cache
from precompute.config import NO_WINDOWS_S, RunConfig, fingerprint
from precompute.engine import Queries, Scores, attribute
from precompute.errors import UserError
from precompute.methods.unlearning import Unlearning
from precompute.model import Items, Model
from precompute.train.lora import digest


def build_method(name: str, config: RunConfig, tracks: int) -> Unlearning:
    """The method with the run's settings, clips taken whole; `tracks` is N. Raises UserError."""
    if name != Unlearning.name:
        raise UserError(f"method {name!r} cannot be judged so; only {Unlearning.name} can")
    return Unlearning(whole_clips(config).unlearning, tracks)


def whole_clips(config: RunConfig) -> RunConfig:
    """The run's settings without windows: influence over time in the clip is not judged."""
    return replace(config, unlearning=replace(config.unlearning, window_s=NO_WINDOWS_S))


def score_clips(
    model: Model,
    method: Unlearning,
    clips: Items,
    cohort: Items,
    tracks: Items,
    inverse_fisher: torch.Tensor,
    config: RunConfig,
    cache: Cache,
) -> Scores:
    """`attribute` for clips [Q >= 1] and a cohort [K], kept by the content of all of these.

    All clips but the first enter as the engine's targets: those have no windows, which saves a third of the memory.
    """
    inputs = [contents(items) for items in (clips, cohort, tracks)]
    key = fingerprint(model.inputs_sha256, method.name, digest({"inverse": inverse_fisher}), inputs)
    queries = Queries(shown=clips[:1], targets=clips[1:], cohort=cohort)
    return attribute(model, method, queries, tracks, inverse_fisher, whole_clips(config), cache, key)


def contents(items: Items) -> str:
    """A fingerprint of everything in items; embeddings follow from the prompts."""
    tensors = {"latents": items.latents, "valid_frames": items.valid_frames, "seconds": items.seconds}
    return fingerprint(digest(tensors), items.prompts)


def concatenated(parts: list[Items]) -> Items:
    """Items one after another, [sum of N]."""
    with_embeddings = parts[0].embeddings is not None
    return Items(
        torch.cat([p.latents for p in parts]),
        torch.cat([p.valid_frames for p in parts]),
        torch.cat([p.seconds for p in parts]),
        tuple(prompt for p in parts for prompt in p.prompts),
        torch.cat([p.embeddings for p in parts]) if with_embeddings else None,  # type: ignore[misc]
    )
