"""The stages before scoring: model, corpus, latents, clips. Each is cached by the content of what it depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from precompute.cache import Cache, progress
from precompute.clips import Prompt, cohort_prompts, generate, read_prompts
from precompute.config import RunConfig, fingerprint
from precompute.corpus import Track, quarantine, read_audio, read_folder, read_manifest
from precompute.errors import UserError
from precompute.model import Items, Model


@dataclass(frozen=True)
class Corpus:
    """The tracks of a run."""

    tracks: list[Track]  # training tracks and the decoys that are scored, by track_id
    root: Path  # folder that holds all their audio
    quarantined: dict[int, str] = field(default_factory=dict)  # track_id -> why it is left out

    @property
    def trained(self) -> list[Track]:
        return [t for t in self.tracks if not t.is_decoy]


def load_model(config: RunConfig, checkpoint: Path | None = None) -> Model:
    """theta_0, or another checkpoint of the same config."""
    section = config.model
    clap = Path(section.clap) if section.clap else None
    model = Model.load(Path(section.config), checkpoint or Path(section.checkpoint), clap, section.device)
    model.arithmetic = config.pass_
    return model


def load_corpus(config: RunConfig) -> Corpus:
    """Tracks of the manifest or folder: unreadable ones reported and left out, decoys thinned to the wanted number."""
    section = config.corpus
    tracks = read_manifest(Path(section.manifest)) if section.manifest else read_folder(Path(section.folder))
    root = Path(section.manifest).parent if section.manifest else Path(section.folder)
    decoys = [t for t in tracks if t.is_decoy]
    if section.decoys and section.decoys < len(decoys):
        kept = {decoys[i * len(decoys) // section.decoys].track_id for i in range(section.decoys)}
        tracks = [t for t in tracks if not t.is_decoy or t.track_id in kept]
    good, bad = quarantine(tracks)
    by_id = {t.track_id: t for t in tracks}
    for track_id, reason in bad.items():
        print(f"  left out: track {track_id} ({by_id[track_id].path}): {reason}", flush=True)
    if not any(not t.is_decoy for t in good):
        raise UserError(f"{section.manifest or section.folder}: no readable training track is left")
    return Corpus(good, root.resolve(), bad)


def audio_digest(tracks: list[Track]) -> str:
    """One hash over ids, captions, lengths and the bytes of all audio files."""
    digest = hashlib.sha256()
    for track in tracks:
        digest.update(f"{track.track_id}|{track.split}|{track.planted}|{track.caption}|{track.duration_s}".encode())
        digest.update(track.path.read_bytes() if track.path else b"latents")
    return digest.hexdigest()


def load_latents(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> tuple[Items, str]:
    """Latents of all tracks (from audio, or shipped where there is none), and the key that names them by content."""
    shipped = _shipped_latents(config)
    shipped_digest = hashlib.sha256(Path(config.corpus.latents).read_bytes()).hexdigest() if shipped else ""
    key = fingerprint(model.inputs_sha256, audio_digest(corpus.tracks), shipped_digest)

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

    cache.ensure("latents", key, compute)
    latents = torch.from_numpy(cache.mapped("latents", key)["latents"])  # tens of gigabytes where tracks are many
    items = model.items([t.caption for t in corpus.tracks], [t.duration_s for t in corpus.tracks], latents)
    return items, key


def _shipped_latents(config: RunConfig) -> dict[str, np.ndarray]:
    if not config.corpus.latents:
        return {}
    path = Path(config.corpus.latents)
    if not path.is_file():
        raise UserError(f"{path}: not found; [corpus] latents must name a .npz of latents by track_id")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def load_clips(model: Model, config: RunConfig, cache: Cache) -> tuple[list[Prompt], Items]:
    """The prompts of the clips that are shown, and the clips."""
    prompts = read_prompts(Path(config.clips.prompts))
    return prompts, generated(model, prompts, config, cache, "clips")


def load_cohort(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> Items:
    """Further clips, not shown, that say how each track usually scores."""
    shown = read_prompts(Path(config.clips.prompts))
    longest = model.sample_size / model.sample_rate
    prompts = cohort_prompts(corpus.tracks, shown, config.clips.cohort, longest)
    return generated(model, prompts, config, cache, "cohort clips")


def generated(model: Model, prompts: list[Prompt], config: RunConfig, cache: Cache, what: str) -> Items:
    rows = [(p.text, p.seconds, p.seed) for p in prompts]
    settings = (config.clips.sampler, config.clips.steps, config.clips.guidance)
    key = fingerprint(model.inputs_sha256, rows, settings)

    def compute() -> dict[str, np.ndarray]:
        return {"latents": generate(model, prompts, config.clips, what).numpy()}

    latents = torch.from_numpy(cache.get(what.replace(" ", "-"), key, compute)["latents"])
    return model.items([p.text for p in prompts], [p.seconds for p in prompts], latents)
