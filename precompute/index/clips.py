"""What a user brings, as clips that can be unlearned: a prompt that is generated, or an audio file that is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from precompute.clips.audio_files import FORMATS, write_audio
from precompute.clips.generation import generate_latents
from precompute.clips.prompts import Prompt
from precompute.config.run import RunConfig
from precompute.corpus.audio import SUFFIXES, AudioError, read_audio, write_sound
from precompute.errors import UserError, need
from precompute.model.diffusion import Items, Model

TITLE_CHARS = 120
PROMPT_CHARS = 1000


@dataclass(frozen=True)
class Wanted:
    """One clip as asked for: words to generate_latents from, or a file."""

    prompt: str = ""  # of a file: the words that it is heard under, "" = none
    audio: Path | None = None
    title: str = ""  # of a file: the name it is shown under
    seconds: float | None = None  # of a clip that is generated; None = the model's longest
    seed: int = 0


@dataclass(frozen=True)
class NewClip:
    """A clip that is made or read."""

    wanted: Wanted
    items: Items  # of length 1
    conditioning: str  # 'prompt', 'clap_audio' or 'empty'
    wave: np.ndarray | None  # [channels, T] of a file, as the model heard it

    @property
    def kind(self) -> str:
        """As table `clips` names it."""
        return "generated" if self.wanted.audio is None else "user"


def told_apart(inputs: Sequence[str], prompts: Sequence[str], files: Sequence[Path], **options: object) -> list[Wanted]:
    """`inputs` are files where such a file is there, else prompts. Raises UserError; nothing heavy is loaded."""
    paths: list[Path] = []
    texts: list[str] = []
    for text in inputs:
        if Path(text).suffix.lower() in SUFFIXES or Path(text).is_file():
            paths.append(Path(text))
        else:
            texts.append(text)
    paths, texts = [*paths, *files], [*texts, *prompts]
    need(bool(paths or texts), "attribute: name an audio file or a prompt")
    caption, title = str(options.get("caption") or ""), str(options.get("title") or "")
    found = []
    for path in paths:
        need(path.is_file(), f"{path}: no such audio file; a prompt must not end like one")
        name = "".join(c for c in title or path.name if c.isprintable())[:TITLE_CHARS]
        found.append(Wanted(caption, path, name or "a file"))
    for text in texts:
        need(0 < len(text.strip()) <= PROMPT_CHARS, f"a prompt must have 1 to {PROMPT_CHARS} characters")
        seconds = options.get("seconds")
        found.append(Wanted(text.strip(), None, "", seconds, int(options.get("seed") or 0)))  # type: ignore[arg-type]
    return found


def make(model: Model, wanted: Wanted, config: RunConfig) -> NewClip:
    """Raises UserError where a file cannot be used, or a length does not fit the model."""
    longest = model.sample_size / model.sample_rate
    if wanted.audio is None:
        seconds = longest if wanted.seconds is None else wanted.seconds
        need(0 < seconds <= longest, f"seconds = {seconds:g}: this model makes clips of at most {longest:g} s")
        prompt = Prompt(0, wanted.prompt, seconds, wanted.seed)
        latents = generate_latents(model, [prompt], config.clips, "clip")
        return NewClip(replace(wanted, seconds=seconds), model.items([prompt.text], [seconds], latents), "prompt", None)
    try:
        wave = read_audio(wanted.audio, model.sample_rate, model.channels)
    except AudioError as error:
        raise UserError(f"{wanted.audio}: {error}") from error
    wave = wave[:, : round(longest * model.sample_rate)]
    items = model.items([wanted.prompt], [wave.shape[1] / model.sample_rate], model.encode(wave)[None])
    if wanted.prompt:
        return NewClip(wanted, items, "prompt", wave)
    if not model.is_clap_conditioned or model.clap is None:
        return NewClip(wanted, items, "empty", wave)
    return NewClip(wanted, replace(items, embeddings=_heard(model, wave)), "clap_audio", wave)


def _heard(model: Model, wave: np.ndarray) -> torch.Tensor:
    """CLAP audio embedding [1, E], in place of the words that a file comes without."""
    import soxr

    mono, rate = wave.mean(0), model.clap.sample_rate
    if rate != model.sample_rate:
        mono = soxr.resample(mono, model.sample_rate, rate, quality="HQ")
    return model.clap.audio([np.ascontiguousarray(mono, dtype=np.float32)])


def write(model: Model, clip: NewClip, clip_id: int, folder: Path) -> Path:
    """The clip's audio as the page plays it."""
    wanted = clip.wanted
    if clip.wave is None:
        prompt = Prompt(clip_id, wanted.prompt, float(clip.items.seconds[0]), wanted.seed)
        return write_audio(model, clip.items, [prompt], folder)[0]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"clip-{clip_id:03d}-user.flac"
    write_sound(path, clip.wave, model.sample_rate, FORMATS["flac"])
    return path
