"""Clips that a user brings to the index: a prompt that is generated, or an audio file that is encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.clips.audio_files import FORMATS, write_audio
from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.common.files import write_atomically
from precompute.config.run import RunConfig
from precompute.corpus.audio import SUFFIXES, AudioError, encode_sound, read_audio
from precompute.errors import UserError, need
from precompute.model.clap import Clap
from precompute.model.diffusion import Items, Model

TITLE_CHARS = 120
PROMPT_CHARS = 1000


@dataclass(frozen=True)
class ClipRequest:
    """One clip as asked for: words to generate from, or a file."""

    prompt: str = ""  # of a file: the words that it is heard under, "" = none
    audio: Path | None = None
    title: str = ""  # of a file: the name it is shown under
    seconds: float | None = None  # of a clip that is generated; None = the model's longest
    seed: int = 0


@dataclass(frozen=True)
class ClipIdentity:
    """What two clips of one store must share to be the same: columns of its table `clips`."""

    kind: str
    prompt: str | None
    conditioning: str
    seed: int | None
    duration_s: float
    audio_sha256: str | None  # of a generated clip it need not be known: it follows from the others

    def is_same(self, stored: ClipIdentity) -> bool:
        """True where a clip of the store is this one."""
        return self == (stored if self.audio_sha256 else replace(stored, audio_sha256=None))


@dataclass(frozen=True)
class NewClip:
    """A clip that is made or read."""

    request: ClipRequest
    items: Items  # of length 1
    conditioning: str  # 'prompt', 'clap_audio' or 'empty'
    sound: bytes | None  # FLAC of a file, as the model heard it

    def identify(self) -> ClipIdentity:
        """What tells this clip from others."""
        prompt = self.describe(0)
        sha256 = hashlib.sha256(self.sound).hexdigest() if self.sound else None
        words = prompt.text or None
        return ClipIdentity(prompt.kind, words, prompt.conditioning, prompt.seed, prompt.seconds, sha256)

    def describe(self, clip_id: int) -> Prompt:
        """The clip as a run describes its own."""
        request, is_file = self.request, self.request.audio is not None
        return Prompt(
            clip_id=clip_id,
            text=request.prompt,
            seconds=float(self.items.seconds[0]),
            seed=None if is_file else request.seed,
            path=request.audio,
            title=request.title or None,
            conditioning=self.conditioning,
        )


def parse_requests(
    inputs: Sequence[str],
    prompts: Sequence[str],
    files: Sequence[Path],
    caption: str | None = None,
    title: str | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> list[ClipRequest]:
    """Requests for files, then for prompts; `inputs` are files where such a file is there, else prompts.

    `caption`, `title`: of files; `seconds`, `seed`: of generated clips. Raises UserError; nothing heavy is loaded.
    """
    is_file = [Path(text).suffix.lower() in SUFFIXES or Path(text).is_file() for text in inputs]
    paths = [*(Path(text) for text, file in zip(inputs, is_file, strict=True) if file), *files]
    texts = [*(text for text, file in zip(inputs, is_file, strict=True) if not file), *prompts]
    need(bool(paths or texts), "attribute: name an audio file or a prompt")
    requests = []
    for path in paths:
        need(path.is_file(), f"{path}: no such audio file; a prompt must not end like one")
        name = "".join(c for c in title or path.name if c.isprintable())[:TITLE_CHARS]
        requests.append(ClipRequest(prompt=caption or "", audio=path, title=name or "a file"))
    for text in texts:
        need(0 < len(text.strip()) <= PROMPT_CHARS, f"a prompt must have 1 to {PROMPT_CHARS} characters")
        requests.append(ClipRequest(prompt=text.strip(), seconds=seconds, seed=seed))
    return requests


def make_clip(model: Model, request: ClipRequest, config: RunConfig) -> NewClip:
    """Generate or read a clip. Raises UserError where a file cannot be used, or a length does not fit the model."""
    longest = model.sample_size / model.sample_rate
    if request.audio is None:
        seconds = longest if request.seconds is None else request.seconds
        need(0 < seconds <= longest, f"seconds = {seconds:g}: this model makes clips of at most {longest:g} s")
        prompt = Prompt(0, request.prompt, seconds, request.seed)
        items = model.items([prompt.text], [seconds], generate_latents(model, [prompt], config.clips, "clip"))
        return NewClip(replace(request, seconds=seconds), items, "prompt", None)
    try:
        wave = read_audio(request.audio, model.sample_rate, model.channels)
    except AudioError as error:
        raise UserError(f"{request.audio}: {error}") from error
    wave = wave[:, : round(longest * model.sample_rate)]
    items = model.items([request.prompt], [wave.shape[1] / model.sample_rate], model.encode(wave)[None])
    sound = encode_sound(wave, model.sample_rate, FORMATS["flac"])
    if request.prompt:
        return NewClip(request, items, "prompt", sound)
    if not model.is_clap_conditioned or model.clap is None:
        return NewClip(request, items, "empty", sound)
    embeddings = _embed_audio(model.clap, wave, model.sample_rate)
    return NewClip(request, replace(items, embeddings=embeddings), "clap_audio", sound)


def _embed_audio(clap: Clap, wave: np.ndarray, sample_rate: int) -> torch.Tensor:
    """CLAP audio embedding [1, E], in place of the words that a file comes without."""
    import soxr

    mono = wave.mean(0)
    if clap.sample_rate != sample_rate:
        mono = soxr.resample(mono, sample_rate, clap.sample_rate, quality="HQ")
    return clap.audio([np.ascontiguousarray(mono, dtype=np.float32)])


def write_clip(model: Model, clip: NewClip, clip_id: int, folder: Path) -> Path:
    """Write the clip's audio as the page plays it. Raises OSError."""
    if clip.sound is None:
        return write_audio(model, clip.items, [clip.describe(clip_id)], folder)[0]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"clip-{clip_id:03d}-user.flac"
    write_atomically(path, clip.sound)
    return path
