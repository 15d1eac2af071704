"""Sets of tracks and clips that went through the same chain to sound, and the features that quality is measured on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import soxr
import torch

from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.common import seeds
from precompute.common.cache import Cache, Entry
from precompute.common.files import hash_file
from precompute.common.progress import progress
from precompute.common.sequences import spread_evenly
from precompute.config.run import ClipsSection, RunConfig, fingerprint
from precompute.corpus.audio import read_audio
from precompute.corpus.intake import load_corpus
from precompute.corpus.latents import load_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.evaluate.quality.descriptors import compute_descriptors, measure_onset_rate, measure_pitch_classes
from precompute.model.diffusion import Items, Model, load_model

LEAST = 8  # items a set
NO_CLAP = "[model] clap: the quality of clips is measured by CLAP embeddings too; name a CLAP's folder"


@dataclass(frozen=True)
class Features:
    """Features of N recordings."""

    clap: np.ndarray  # [N, E] float32: CLAP audio embeddings, unit length
    descriptors: np.ndarray  # [N, S] float64
    onset_rate: np.ndarray  # [N] float64, onsets per second
    pitch_classes: np.ndarray  # [N, 12] float64, each row sums to 1, from C

    def __getitem__(self, rows: Sequence[int]) -> Features:
        """Features of some of the recordings."""
        return Features(*(getattr(self, f.name)[list(rows)] for f in fields(self)))


@dataclass(frozen=True)
class ComparedSets:
    """A model, and the tracks that its clips are compared with; planted tracks are in none of these."""

    model: Model
    cache: Cache
    trained: list[Track]  # all regular training tracks
    trained_items: Items
    reference: list[int]  # n rows of `trained`
    others: list[int]  # n further rows of `trained`
    decoys: list[Track]  # n
    decoy_items: Items

    def make_prompts(self) -> list[Prompt]:
        """One prompt for each decoy: its caption and length, and a seed of its own."""
        return [Prompt(t.track_id, t.caption, t.duration_s, seeds.QUALITY + t.track_id) for t in self.decoys]


def spread_over_collections(tracks: Sequence[Track], count: int) -> list[int]:
    """Rows of `count` tracks, evenly over collections and, within one, over ids."""
    order = sorted(range(len(tracks)), key=lambda row: (tracks[row].collection, tracks[row].track_id))
    return [order[i] for i in spread_evenly(len(order), count)]


def load_compared_sets(config: RunConfig, count: int) -> ComparedSets:
    """Sets of one size, at most `count` tracks each. Raises UserError where tracks, decoys or CLAP are missing."""
    model = load_model(config)
    if model.clap is None:
        raise UserError(NO_CLAP)
    cache = Cache(Path(config.output.work) / "cache")
    corpus = load_corpus(config)
    regular = [row for row, track in enumerate(corpus.tracks) if not track.planted and track.caption]
    trained_rows = [row for row in regular if not corpus.tracks[row].is_decoy]
    decoy_rows = [row for row in regular if corpus.tracks[row].is_decoy]
    n = min(count, len(decoy_rows), len(trained_rows) // 2)
    if n < LEAST:
        raise UserError(
            f"{len(trained_rows)} training tracks, {len(decoy_rows)} decoys and a count of {count}:"
            f" the quality of clips needs {2 * LEAST} training tracks, {LEAST} decoys and a count of {LEAST} at least"
        )
    items, _ = load_latents(model, corpus, config, cache)
    trained = [corpus.tracks[row] for row in trained_rows]
    reference = spread_over_collections(trained, n)
    rest = [row for row in range(len(trained)) if row not in set(reference)]
    others = [rest[row] for row in spread_over_collections([trained[row] for row in rest], n)]
    chosen = [decoy_rows[row] for row in spread_over_collections([corpus.tracks[row] for row in decoy_rows], n)]
    decoys = [corpus.tracks[row] for row in chosen]
    return ComparedSets(model, cache, trained, items[trained_rows], reference, others, decoys, items[chosen])


def generate_timed_clips(
    model: Model, prompts: list[Prompt], settings: ClipsSection, cache: Cache
) -> tuple[Items, float]:
    """Clips of prompts, and the seconds that one of them took when they were made; cached."""
    rows = [(p.text, p.seconds, p.seed) for p in prompts]
    key = fingerprint(model.inputs_sha256, rows, settings.sampler, settings.steps, settings.guidance)

    def compute() -> dict[str, np.ndarray]:
        began = time.monotonic()
        what = f"clips, {settings.steps} steps, guidance {settings.guidance:g}"
        latents = generate_latents(model, prompts, settings, what).numpy()
        return {"latents": latents, "seconds": np.array((time.monotonic() - began) / len(prompts))}

    cached = cache.get(Entry("quality-clips", key), compute)
    items = model.items([p.text for p in prompts], [p.seconds for p in prompts], torch.from_numpy(cached["latents"]))
    return items, float(cached["seconds"])


def decode(model: Model, latents: torch.Tensor, seconds: float) -> np.ndarray:
    """Latents [C, F] -> waveform [channels, T], cut to the stated length."""
    return model.decode(latents)[:, : max(1, round(seconds * model.sample_rate))]


def extract_from_latents(model: Model, items: Items, cache: Cache, what: str) -> Features:
    """Features of tracks or clips decoded from latents; cached by content."""
    digest = hashlib.sha256(items.latents.numpy().tobytes() + items.seconds.numpy().tobytes()).hexdigest()
    rows = progress(f"features of {what}", range(len(items)))
    waves = (decode(model, items.latents[row], float(items.seconds[row])) for row in rows)
    return _load_or_extract(model, waves, cache, digest)


def extract_from_audio(model: Model, tracks: Sequence[Track], cache: Cache, what: str) -> Features:
    """Features of tracks as recorded, up to the model's longest; each needs a path. Cached by content."""
    paths = [track.path for track in tracks if track.path is not None]
    digest = hashlib.sha256(b"".join(bytes.fromhex(hash_file(path)) for path in paths)).hexdigest()
    waves = (
        read_audio(path, model.sample_rate, model.channels)[:, : model.sample_size]
        for path in progress(f"features of {what}", paths)
    )
    return _load_or_extract(model, waves, cache, digest)


def _load_or_extract(model: Model, waves: Iterable[np.ndarray], cache: Cache, digest: str) -> Features:
    """Features from the cache, else of the waveforms; `digest`: of their content."""
    entry = Entry("features", fingerprint(model.inputs_sha256, digest))
    return Features(**cache.get(entry, lambda: vars(extract(model, waves))))


def extract(model: Model, waves: Iterable[np.ndarray]) -> Features:
    """Features of waveforms [channels, T] at the model's rate, measured in mono. Raises UserError without CLAP."""
    clap, rows = model.clap, []
    if clap is None:
        raise UserError(NO_CLAP)
    for wave in waves:
        mono = wave.mean(0)
        resampled = mono
        if clap.sample_rate != model.sample_rate:
            resampled = soxr.resample(mono, model.sample_rate, clap.sample_rate, quality="HQ")
        rows.append(
            (
                clap.audio([resampled])[0].numpy(),
                compute_descriptors(mono, model.sample_rate),
                np.float64(measure_onset_rate(mono, model.sample_rate)),
                measure_pitch_classes(mono, model.sample_rate),
            )
        )
    return Features(*(np.stack(column) for column in zip(*rows, strict=True)))
