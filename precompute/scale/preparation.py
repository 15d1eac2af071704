"""Preparation of a shared pass: made by the driver, read from the cache by workers in other processes and machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from precompute.common.cache import Cache, Entry
from precompute.common.torch_setup import setup_torch
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import Corpus, load_corpus
from precompute.corpus.latents import load_latents, make_items
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.gradients.context import Context
from precompute.gradients.taps import StepTap, Tap
from precompute.gradients.track_pass import TrackPass, name_entry
from precompute.methods.base import GradientMethod
from precompute.methods.catalogue import build_method
from precompute.model.diffusion import Items, load_model
from precompute.pipeline import make_context


@dataclass(frozen=True)
class Assignment:
    """All that is sent to a worker in another process or machine, by pickle; it reads the rest from the run's cache."""

    config: RunConfig
    tracks: list[Track]
    root: Path  # folder of the tracks' audio
    track_key: str  # names model and tracks by content
    pass_key: str  # names all that the results depend on
    threads: int

    def open(self, worker: int) -> Callable[[int], None]:
        """In the worker, once: loads the model and returns the function that computes a shard by its number.

        Raises UserError where it would compute something else than the driver has prepared.
        """
        setup_torch()
        torch.set_num_threads(self.threads)
        config = choose_card(self.config, worker)
        cache, model = Cache(Path(config.output.work) / "cache"), load_model(config)
        embeddings = None
        if model.is_clap_conditioned:
            embeddings = torch.from_numpy(cache.map(_embeddings_entry(self.track_key))["embeddings"]).to(model.device)
        items = make_items(model, self.tracks, self.track_key, cache, embeddings)
        corpus = Corpus(self.tracks, self.root)
        context = make_context(model, corpus, config, cache, (items, self.track_key))[0]
        track_pass = make_pass(context)
        if fingerprint_pass(track_pass, context) != self.pass_key:
            raise UserError(f"worker {worker}: its settings, model or code differ from the driver's")
        for tap in track_pass.taps:
            if isinstance(tap, StepTap):
                tap.directions.memory_gb = 0.0  # on disk: the workers of a machine share what the system holds of it
            tap.prepare()
        return track_pass.compute


def prepare_pass(config: RunConfig) -> tuple[TrackPass, Assignment]:
    """Latents, clips, curvature and directions: everything but the tracks' gradients. Prints what it does.

    Raises UserError where none of the run's methods looks at gradients.
    """
    cache = Cache(Path(config.output.work) / "cache")
    print("corpus", flush=True)
    corpus, model = load_corpus(config), load_model(config)
    items, track_key = load_latents(model, corpus, config, cache)
    _write_embeddings(items, track_key, cache)
    context = make_context(model, corpus, config, cache, (items, track_key))[0]
    track_pass = make_pass(context)
    own, key = replace(config, text=""), fingerprint_pass(track_pass, context)
    return track_pass, Assignment(own, corpus.tracks, corpus.root, track_key, key, threads=1)


def make_pass(context: Context) -> TrackPass:
    """The pass for all gradient methods of the run that can run here."""
    taps: list[Tap] = []
    for name in context.config.methods.run:
        method = build_method(name, context.config, len(context.trained))
        own = method.focus(context)
        if isinstance(method, GradientMethod) and method.find_obstacle(own) is None:
            taps += method.make_taps(own).values()
    if not taps:
        raise UserError("[methods] run: none of these methods looks at gradients of tracks; `precompute run` does them")
    return TrackPass(context.model, context.items, context.bank, taps, context.cache)


def fingerprint_pass(track_pass: TrackPass, context: Context) -> str:
    """A fingerprint of all that the results depend on."""
    return fingerprint(context.key, [str(name_entry(tap, context.model, 0)) for tap in track_pass.taps])


def choose_card(config: RunConfig, worker: int) -> RunConfig:
    """The config with this worker's own card, where the device is `cuda` without a number."""
    if config.model.device != "cuda" or not torch.cuda.is_available():
        return config
    return replace(config, model=replace(config.model, device=f"cuda:{worker % torch.cuda.device_count()}"))


def _embeddings_entry(track_key: str) -> Entry:
    return Entry("embeddings", track_key)


def _write_embeddings(items: Items, track_key: str, cache: Cache) -> None:
    """Embeddings of the captions, so that workers need not compute them again."""
    if items.embeddings is not None:
        embeddings = items.embeddings.cpu().numpy()
        cache.ensure(_embeddings_entry(track_key), lambda: {"embeddings": embeddings})
