"""Prompts and seeds -> generated clips; the normalisation cohort; training tracks that are unlearned themselves."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.common import seeds
from precompute.common.files import hash_file, write_atomically
from precompute.common.progress import progress
from precompute.common.sequences import spread_evenly
from precompute.config.run import ClipsSection
from precompute.corpus.audio import converted, read_span
from precompute.corpus.intake import own_clips
from precompute.corpus.tracks import Track
from precompute.corpus.windows import SLACK, clock
from precompute.errors import UserError
from precompute.model.diffusion import Items, Model

BATCH = 16  # clips a sampler call
PEAK = 0.8  # full scale; clips are turned down to it, never up


@dataclass(frozen=True)
class Prompt:
    """One clip: to generate from text and seed, or (with `path`) a sound that the user brought."""

    clip_id: int
    text: str  # empty for a sound
    seconds: float
    seed: int | None
    path: Path | None = None
    title: str | None = None  # of a sound: its file's name, and the seconds of it that are heard
    conditioning: str = "prompt"  # what it is scored under: prompt | clap_audio | empty
    digest: str = ""  # of a sound's bytes

    @property
    def kind(self) -> str:
        return "user" if self.path else "generated"

    @property
    def key(self) -> tuple[str, float, int | None, str]:
        """What its latents depend on, beside the model."""
        return self.text, self.seconds, self.seed, self.digest


def read_prompts(path: Path) -> list[Prompt]:
    """Rows clip_id, prompt, seconds, seed of a CSV. Raises UserError naming the line."""
    if not path.is_file():
        raise UserError(
            f"{path}: no prompts here; [clips] prompts must name a CSV file (clip_id, prompt, seconds, seed)"
        )
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    prompts = []
    for line, row in enumerate(rows, start=2):
        try:
            prompt = Prompt(int(row["clip_id"]), row["prompt"].strip(), float(row["seconds"]), int(row["seed"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}, line {line}: needs clip_id, prompt, seconds and seed ({error})") from None
        if not prompt.text or not 0 < prompt.seconds < 3600:
            raise UserError(f"{path}, line {line}: the prompt is empty, or seconds = {row['seconds']} is not a length")
        prompts.append(prompt)
    if not prompts:
        raise UserError(f"{path}: no prompts in it")
    if len({p.clip_id for p in prompts}) < len(prompts):
        raise UserError(f"{path}: a clip_id stands twice")
    return prompts


def cohort_prompts(tracks: Sequence[Track], shown: Sequence[Prompt], count: int, longest: float) -> list[Prompt]:
    """Prompts of the cohort: captions of training tracks, spread over collections, with their lengths and own seeds."""
    by_collection: dict[str, list[Track]] = {}
    for track in tracks:
        if not track.is_decoy and not track.planted:
            by_collection.setdefault(track.collection, []).append(track)
    taken = {prompt.text for prompt in shown}
    queues = [[t for t in group if t.caption not in taken] or group for _, group in sorted(by_collection.items())]
    chosen = []
    for number in range(count):
        queue = queues[number % len(queues)]
        track = queue[(number // len(queues)) * 7 % len(queue)]
        chosen.append(Prompt(0, track.caption, min(track.duration_s, longest), seeds.COHORT + number))
    return chosen


def choose_targets(tracks: Sequence[Track], count: int) -> list[Track]:
    """Training tracks to unlearn themselves: spread evenly over collections and ids, planted ones left out."""
    regular = sorted((t for t in tracks if not t.is_decoy and not t.planted), key=lambda t: (t.collection, t.track_id))
    return [regular[i] for i in spread_evenly(len(regular), count)] if count else []


def generate(model: Model, prompts: Sequence[Prompt], settings: ClipsSection, what: str) -> torch.Tensor:
    """Latents [Q, C, F]; the result for one prompt does not depend on what else is in its batch (to 1e-5)."""
    blank = torch.zeros(len(prompts), model.latent_channels, model.frames)
    items = model.items([p.text for p in prompts], [p.seconds for p in prompts], blank)
    batches = [list(range(start, min(start + BATCH, len(prompts)))) for start in range(0, len(prompts), BATCH)]
    parts = [
        model.generate(
            items[rows], [prompts[i].seed for i in rows], settings.steps, settings.guidance, settings.sampler
        )
        for rows in progress(what, batches)
    ]
    return torch.cat(parts)


FORMATS: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.2, "bitrate_mode": "VARIABLE"},
}


def write_audio(
    model: Model, items: Items, prompts: Sequence[Prompt], folder: Path, audio_format: str = "flac"
) -> list[Path]:
    """Decode, cut to the stated length, fade the last 20 ms, and write files named by clip_id and seed."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for row, prompt in enumerate(prompts):
        if prompt.path is not None:
            paths.append(copy_sound(prompt, folder))
            continue
        wave = model.decode(items.latents[row])[:, : round(float(items.seconds[row]) * model.sample_rate)]
        fade = min(wave.shape[1], int(0.02 * model.sample_rate))
        wave[:, wave.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        wave *= min(1.0, PEAK / max(float(np.abs(wave).max()), 1e-9))
        path = folder / f"clip-{prompt.clip_id:03d}-seed-{prompt.seed}.{audio_format}"
        encoded = io.BytesIO()  # in memory first: a full disk is then an OSError like any other
        soundfile.write(encoded, wave.T, model.sample_rate, **FORMATS[audio_format])
        write_atomically(path, encoded.getvalue())
        paths.append(path)
    return paths


def copy_sound(prompt: Prompt, folder: Path) -> Path:
    """The part of a user's sound that the model hears, at its own rate, as FLAC."""
    import soundfile

    wave, rate = read_span(prompt.path, 0.0, prompt.seconds)  # type: ignore[arg-type]
    path = folder / f"clip-{prompt.clip_id:03d}-own-{prompt.digest[:8]}.flac"
    encoded = io.BytesIO()
    soundfile.write(encoded, wave.T, rate, format="FLAC", subtype="PCM_24")
    write_atomically(path, encoded.getvalue())
    return path


def own_prompts(model: Model, audio: str, first_id: int) -> list[Prompt]:
    """The user's sounds as clips, numbered from `first_id`: each as far as the model hears it, from its beginning.

    Scored under the CLAP embedding of its sound where the model takes one, else under the empty prompt.
    """
    longest_s = model.frames * model.ratio / model.sample_rate
    good, bad = own_clips(audio)
    for name, reason in bad.items():
        print(f"  left out: {name}: {reason}", flush=True)
    found = []
    for number, clip in enumerate(good):
        seconds = min(clip.seconds, longest_s)
        cut = f" (0:00–{clock(seconds)})" if clip.seconds > SLACK * longest_s else ""
        if cut:
            print(f"  {clip.path}: its first {seconds:.1f} s of {clip.seconds:.1f} are used", flush=True)
        found.append(
            Prompt(
                clip_id=first_id + number,
                text="",
                seconds=seconds,
                seed=None,
                path=clip.path,
                title=clip.path.name + cut,
                conditioning="clap_audio" if model.is_clap_conditioned else "empty",
                digest=hash_file(clip.path),
            )
        )
    return found


def sound_items(model: Model, prompts: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Latents [Q, C, F] of the user's sounds and, where the model is CLAP-conditioned, their embeddings [Q, E]."""
    latents, heard = [], []
    for prompt in prompts:
        wave, rate = read_span(prompt.path, 0.0, prompt.seconds)  # type: ignore[arg-type]
        latents.append(model.encode(converted(wave, rate, model.sample_rate, model.channels)))
        if model.is_clap_conditioned:
            heard.append(converted(wave, rate, model.require_clap().sample_rate, 1)[0])
    return torch.stack(latents), model.require_clap().audio(heard) if heard else None
