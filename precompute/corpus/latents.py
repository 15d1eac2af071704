"""Latents of all tracks of a run: encoded from audio, or shipped where a track has none; cached by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from precompute.common.cache import Cache, Entry
from precompute.common.files import hash_file
from precompute.common.progress import progress
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.audio import read_audio
from precompute.corpus.intake import Corpus
from precompute.corpus.packed import read_latents
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.model.batches import Items
from precompute.model.diffusion import Model


def load_latents(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> tuple[Items, str]:
    """The tracks with their latents, and the key that names these by content. Raises UserError, AudioError."""
    shipped = read_shipped_latents(config)
    shipped_digest = hash_file(Path(config.corpus.latents)) if shipped else ""
    key = fingerprint(model.inputs_sha256, hash_tracks(corpus.tracks), shipped_digest)

    def compute() -> dict[str, np.ndarray]:
        rows = []
        for track in progress("latents", corpus.tracks):
            if track.path is not None:
                rows.append(model.encode(read_audio(track.path, model.sample_rate, model.channels)).numpy())
            elif str(track.track_id) in shipped:
                rows.append(shipped[str(track.track_id)].astype(np.float32))
            else:
                raise UserError(f"track {track.track_id}: no audio and no latents; see [corpus] latents")
            if rows[-1].shape != (model.latent_channels, model.frames):
                raise UserError(f"track {track.track_id}: its latents are of another model; see [corpus] latents")
        return {"latents": np.stack(rows)}

    cache.ensure(Entry("latents", key), compute)
    return make_items(model, corpus.tracks, key, cache), key


def compute_timing(tracks: Sequence[Track]) -> torch.Tensor | None:
    """The timing conditions of `Items`; None where no track is a window of a longer file."""
    if not any(track.whole_s for track in tracks):
        return None
    return torch.tensor([[t.start_s, t.whole_s or t.duration_s] for t in tracks])


def make_items(
    model: Model, tracks: Sequence[Track], key: str, cache: Cache, embeddings: torch.Tensor | None = None
) -> Items:
    """Tracks with their cached latents, which stay on disk: tens of gigabytes where tracks are many.

    `embeddings` [N, E]: of their captions, where they are known already.
    """
    latents = torch.from_numpy(cache.map(Entry("latents", key))["latents"])
    return model.items(
        [t.caption for t in tracks],
        [t.duration_s for t in tracks],
        latents,
        timing=compute_timing(tracks),
        embeddings=embeddings,
    )


def read_shipped_latents(config: RunConfig) -> dict[str, np.ndarray]:
    """Latents [C, F] by track_id, of tracks that ship without audio. Raises UserError."""
    if not config.corpus.latents:
        return {}
    path = Path(config.corpus.latents)
    if not path.is_file():
        raise UserError(f"{path}: not found; [corpus] latents must name a .npz of latents by track_id")
    return read_latents(path)


def hash_tracks(tracks: Sequence[Track]) -> str:
    """One hash over ids, captions, lengths and the bytes of all audio files."""
    digest = hashlib.sha256()
    for track in tracks:
        digest.update(f"{track.track_id}|{track.split}|{track.planted}|{track.caption}|{track.duration_s}".encode())
        digest.update(f"{track.start_s}|{track.whole_s}".encode() if track.whole_s else b"")
        digest.update(track.path.read_bytes() if track.path else b"latents")
    return digest.hexdigest()
