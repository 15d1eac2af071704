"""The stages before scoring: model, corpus, latents, clips. Each is cached by the content of what it depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from precompute.clips.prompts import Prompt, cohort_prompts, generate, own_prompts, read_prompts, sound_items
from precompute.common.cache import Cache, Entry
from precompute.common.files import hash_file
from precompute.common.progress import progress
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.intake import model_length_s, read_model_config, said, take_in
from precompute.corpus.tracks import Track, read_audio
from precompute.corpus.windows import written
from precompute.errors import UserError
from precompute.model.diffusion import Items, Model, hub


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
    model = Model.load(hub.config_file(section), checkpoint or hub.checkpoint_file(section), clap, section.device)
    model.arithmetic = config.pass_
    return model


def load_corpus(config: RunConfig) -> Corpus:
    """Tracks of the manifest or folder: unreadable files reported and left out, decoys thinned to the wanted number,
    long files cut into windows of the model's length (see `windows.py`), and said so.
    """
    longest_s = model_length_s(read_model_config(hub.config_file(config.model)))
    taken = take_in(config, longest_s)
    by_id = {t.track_id: t for t in taken.files}
    for track_id, reason in taken.quarantined.items():
        print(f"  left out: track {track_id} ({by_id[track_id].path}): {reason}", flush=True)
    for line in said(taken, longest_s):
        print(f"  {line}", flush=True)
    written(taken.tracks)
    return Corpus(taken.tracks, taken.root.resolve(), taken.quarantined)


def audio_digest(tracks: list[Track]) -> str:
    """One hash over ids, captions, lengths and the bytes of all audio files."""
    digest = hashlib.sha256()
    for track in tracks:
        digest.update(f"{track.track_id}|{track.split}|{track.planted}|{track.caption}|{track.duration_s}".encode())
        digest.update(f"{track.start_s}|{track.whole_s}".encode() if track.whole_s else b"")
        digest.update(track.path.read_bytes() if track.path else b"latents")
    return digest.hexdigest()


def load_latents(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> tuple[Items, str]:
    """Latents of all tracks (from audio, or shipped where there is none), and the key that names them by content."""
    shipped = shipped_latents(config)
    shipped_digest = hash_file(Path(config.corpus.latents)) if shipped else ""
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

    cache.ensure(Entry("latents", key), compute)
    return items_of(model, corpus.tracks, key, cache), key


def items_of(
    model: Model, tracks: list[Track], key: str, cache: Cache, embeddings: torch.Tensor | None = None
) -> Items:
    """Tracks with their kept latents, which stay on disk: tens of gigabytes where tracks are many.

    `embeddings`: of their captions, where known."""
    latents = torch.from_numpy(cache.map(Entry("latents", key))["latents"])
    timing = torch.tensor([[t.start_s, t.whole_s or t.duration_s] for t in tracks])
    return model.items(
        [t.caption for t in tracks],
        [t.duration_s for t in tracks],
        latents,
        timing=timing if any(t.whole_s for t in tracks) else None,
        embeddings=embeddings,
    )


def shipped_latents(config: RunConfig) -> dict[str, np.ndarray]:
    """Latents by track_id, of tracks that ship without audio."""
    if not config.corpus.latents:
        return {}
    path = Path(config.corpus.latents)
    if not path.is_file():
        raise UserError(f"{path}: not found; [corpus] latents must name a .npz of latents by track_id")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def load_clips(model: Model, config: RunConfig, cache: Cache) -> tuple[list[Prompt], Items]:
    """The clips that are shown: those of the prompts, then the user's own sounds."""
    prompts = shown_prompts(config)
    own = own_prompts(model, config.clips.audio, max((p.clip_id for p in prompts), default=0) + 1)
    parts = []
    if prompts:
        parts.append(generated(model, prompts, config, cache, "clips"))
    if own:
        parts.append(_own_items(model, own, cache))
    return prompts + own, parts[0].joined(parts[1]) if len(parts) > 1 else parts[0]


def shown_prompts(config: RunConfig) -> list[Prompt]:
    """The clips to generate; none where [clips] names sounds alone."""
    return read_prompts(Path(config.clips.prompts)) if config.clips.prompts else []


def _own_items(model: Model, own: list[Prompt], cache: Cache) -> Items:
    def compute() -> dict[str, np.ndarray]:
        latents, embeddings = sound_items(model, own)
        return {"latents": latents.numpy(), "embeddings": np.zeros(0) if embeddings is None else embeddings.numpy()}

    kept = cache.get(Entry("own-clips", fingerprint(model.inputs_sha256, [p.key for p in own])), compute)
    embeddings = torch.from_numpy(kept["embeddings"]) if kept["embeddings"].size else None
    latents = torch.from_numpy(kept["latents"])
    return model.items([p.text for p in own], [p.seconds for p in own], latents, embeddings)


def load_cohort(model: Model, corpus: Corpus, config: RunConfig, cache: Cache) -> Items:
    """Further clips, not shown, that say how each track usually scores."""
    longest = model.sample_size / model.sample_rate
    prompts = cohort_prompts(corpus.tracks, shown_prompts(config), config.clips.cohort, longest)
    return generated(model, prompts, config, cache, "cohort clips")


def generated(model: Model, prompts: list[Prompt], config: RunConfig, cache: Cache, what: str) -> Items:
    rows = [(p.text, p.seconds, p.seed) for p in prompts]
    settings = (config.clips.sampler, config.clips.steps, config.clips.guidance)
    key = fingerprint(model.inputs_sha256, rows, settings)

    def compute() -> dict[str, np.ndarray]:
        return {"latents": generate(model, prompts, config.clips, what).numpy()}

    latents = torch.from_numpy(cache.get(Entry(what.replace(" ", "-"), key), compute)["latents"])
    return model.items([p.text for p in prompts], [p.seconds for p in prompts], latents)
